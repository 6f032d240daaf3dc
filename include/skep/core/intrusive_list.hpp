// ListLink: a place in a doubly linked list that is part of the object itself, so that joining and leaving allocate
// nothing and leaving needs no search.
#pragma once

namespace skep::inline v0 {

/// A link; the head of a list is a link too. A link alone is linked to itself. It must not be destroyed while it is in
/// a list, nor a head while others are in its list.
class ListLink {
 public:
  ListLink() noexcept = default;
  ListLink(const ListLink&) = delete;
  ListLink& operator=(const ListLink&) = delete;

  /// Joins the list in front of `where`; in front of the head is the end of the list. It must be alone.
  void insert_before(ListLink& where) noexcept {
    previous_ = where.previous_;
    next_ = &where;
    previous_->next_ = this;
    where.previous_ = this;
  }
  /// Leaves its list; nothing happens when it is alone.
  void unlink() noexcept {
    previous_->next_ = next_;
    next_->previous_ = previous_;
    previous_ = next_ = this;
  }

  [[nodiscard]] bool is_alone() const noexcept { return next_ == this; }
  [[nodiscard]] ListLink* next() const noexcept { return next_; }

 private:
  ListLink* previous_ = this;
  ListLink* next_ = this;
};

}  // namespace skep::inline v0
