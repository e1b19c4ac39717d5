#include "core/fields.h"

#include <gtest/gtest.h>

namespace limpid {
namespace {

enum class Colour { red, green };
struct Inner {
  double rate = 0.5;
  void fields(Fields& f) { f.field("rate", rate, "how fast", kFraction); }
};
struct Outer {
  int64_t layers = 2;
  std::string name = "a \"b\"";
  Colour colour = Colour::green;
  std::vector<double> weights = {1, 0.25};
  Inner inner;
  void fields(Fields& f) {
    static constexpr const char* kColours[] = {"red", "green"};
    f.field("layers", layers, "blocks", kPositive);
    f.field("name", name, "a name");
    f.group("inner", inner, "the inner one");
    f.field("colour", colour, kColours, "a colour");
    f.field("weights", weights, "one a corpus");
  }
};

TEST(Fields, ListsEveryKeyOnceWithItsValue) {
  const std::vector<Entry> entries = list_entries(Outer{});
  ASSERT_EQ(entries.size(), 6u);
  EXPECT_EQ(entries[0].key, "layers");
  EXPECT_EQ(entries[0].allowed, "1 or more");
  EXPECT_EQ(entries[1].value, "\"a \\\"b\\\"\"");
  EXPECT_TRUE(entries[2].is_group);
  EXPECT_EQ(entries[3].key, "inner.rate");
  EXPECT_EQ(entries[3].allowed, "0 to 1");
  EXPECT_EQ(entries[4].value, "\"green\"");
  EXPECT_EQ(entries[5].value, "[1.0, 0.25]");
}

TEST(Fields, WritesJson) {
  EXPECT_EQ(
      to_json(list_entries(Outer{})),
      R"({"layers": 2, "name": "a \"b\"", "inner": {"rate": 0.5}, "colour": "green", "weights": [1.0, 0.25]})");
}

TEST(Fields, ComparesFieldByField) {
  Outer other;
  other.inner.rate = 0.25;
  EXPECT_EQ(differences(list_entries(Outer{}), list_entries(other)),
            std::vector<std::string>{"inner.rate: 0.5 here, 0.25 there"});
}

TEST(Fields, SuggestsTheNearestWord) {
  EXPECT_EQ(nearest("layer", {"layers", "heads"}), "layers");
  EXPECT_EQ(nearest("zzzzzzzz", {"layers", "heads"}), "");
}

TEST(Fields, NumbersReadBackExactly) {
  for (double value : {0.1, 1e-8, 3.0, 6e-4, 1e300, -0.0})
    EXPECT_EQ(std::stod(exact(value)), value);
}

}  // namespace
}  // namespace limpid
