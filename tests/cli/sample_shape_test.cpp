#include "skep/cli/sample_shape.hpp"

#include <doctest/doctest.h>

using namespace skep::cli;

TEST_CASE("shapes of one sample") {
  CHECK(sample_shape("512") == SampleShape{{512}, "float32"});
  CHECK(sample_shape("128x64") == SampleShape{{128, 64}, "float32"});
  CHECK(sample_shape("128:bool") == SampleShape{{128}, "bool"});
  CHECK(sample_shape("scalar:int64") == SampleShape{{}, "int64"});
  for (const char* text :
       {"", "x", "0", "-1", "12x", "x12", "1x0", "512:", "a", "1.5", "2147483647x2", "99999999999"}) {
    CAPTURE(text);
    CHECK_FALSE(sample_shape(text));
  }
}

TEST_CASE("what is no shape is told so") {
  const auto check = sample_shape_check({"float32", "int64"});
  CHECK(check("3:int64").empty());
  CHECK(check("3:int65") == "\"int65\" is not one of float32, int64");
  CHECK(check("three") == "\"three\" is not the shape of a sample, such as 512, 128x64 or 128:int64");
}
