#include "skep/dht/searches.hpp"

#include <memory>

#include <doctest/doctest.h>
#include "skep/dht/key.hpp"
#include "skep/sim/timeline.hpp"

using namespace skep;
using dht::Dictionary;
using dht::Item;
using dht::key_id;
using dht::KeySearch;
using dht::Reader;
using dht::Record;
using dht::SearchBatch;
using dht::Searches;

namespace {
Record value(std::uint8_t n, double expiration) { return Item{{n}, {expiration}}; }
Record dictionary(std::uint8_t subkey, double expiration) {
  Dictionary out;
  out.store({subkey}, Item{{1}, {expiration}});
  return out;
}
struct Batch {
  sim::Timeline time;
  std::shared_ptr<SearchBatch> batch = std::make_shared<SearchBatch>(time.executor(), false, 3);
  std::shared_ptr<Reader> reader(std::size_t key, double sufficient) {
    auto out = std::make_shared<Reader>(time.executor(), 1);
    batch->wait(key, out, 0, {key_id(1), {sufficient}, 3});
    return out;
  }
};
}  // namespace

TEST_CASE("A3.13 a value that lives long enough is enough, the latest never is") {
  KeySearch search;
  CHECK_FALSE(search.enough({5}, 3));
  CHECK(search.take(value(1, 10)));
  CHECK(search.enough({5}, 3));
  CHECK(search.enough({10}, 3));
  CHECK_FALSE(search.enough({11}, 3));
  CHECK_FALSE(search.enough(dht::latest_time, 3));
  CHECK_FALSE(search.take(value(2, 9)));
  CHECK(search.take(value(3, 20)));
  CHECK(search.record->value()->value == Bytes{3});
}

TEST_CASE("A3.16 a dictionary is enough when a majority of the replicas gave theirs") {
  KeySearch search;
  for (std::uint8_t n = 0; n < 3; ++n) {
    CHECK_FALSE(search.enough({5}, 3));
    search.take(dictionary(n, 10));
  }
  CHECK(search.enough({5}, 3));
  CHECK(search.record->dictionary()->items().size() == 3);
}

TEST_CASE("A3.23 all who wait for a key get what suffices for them, the others go on waiting") {
  Batch b;
  b.batch->add(key_id(1), {});
  const auto modest = b.reader(0, 5);
  const auto demanding = b.reader(0, 50);
  (*b.batch)[0].take(value(1, 10));
  CHECK(b.batch->serve(0));
  CHECK(modest->done.is_set());
  CHECK(modest->records[0]->value()->value == Bytes{1});
  CHECK(demanding->is_pending());
  b.batch->finish(0);
  CHECK(demanding->records[0]->value()->value == Bytes{1});  // nothing better came
  CHECK_FALSE(demanding->is_pending());
}

TEST_CASE("A3.19 who gives up gets what is known, and a key without readers is over") {
  Batch b;
  b.batch->add(key_id(1), {});
  const auto first = b.reader(0, 50);
  const auto second = b.reader(0, 50);
  (*b.batch)[0].take(value(1, 10));
  first->leave();
  CHECK(first->records[0]);
  CHECK_FALSE((*b.batch)[0].over);
  second->leave();
  CHECK((*b.batch)[0].over);
  CHECK(b.batch->news()->is_set());
  second->leave();
}

TEST_CASE("A3.24 H-26 nothing stays behind of searches that are over") {
  Batch b;
  Searches searches;
  searches.add(key_id(1), {b.batch, b.batch->add(key_id(1), {})});
  searches.add(key_id(2), {b.batch, b.batch->add(key_id(2), {})});
  REQUIRE(searches.find(key_id(1)));
  CHECK(searches.find(key_id(1))->batch == b.batch);
  b.batch->finish(0);
  CHECK_FALSE(searches.find(key_id(1)));
  const auto newer = std::make_shared<SearchBatch>(b.time.executor(), true, 3);
  searches.add(key_id(2), {newer, newer->add(key_id(2), {})});  // a reader who wants it fresher
  searches.remove(*b.batch);
  CHECK(searches.size() == 1);
  CHECK(searches.find(key_id(2))->batch == newer);
  searches.remove(*newer);
  CHECK(searches.size() == 0);
}

TEST_CASE("when the node is closed nobody waits for ever") {
  Batch b;
  b.batch->add(key_id(1), {});
  const auto reader = b.reader(0, 5);
  b.batch->interrupt();
  CHECK(reader->interrupted);
  CHECK(reader->done.is_set());
}
