#include "recipes/recipe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace limpid {
namespace {

using testing::HasSubstr;

const std::string kData = "data.train=[\"corpus.h5\"]";

std::string error_of(const std::string& text, const std::vector<std::string>& settings = {}) {
  try {
    Recipe::parse(text, "a.toml", settings);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Recipe, ReadsValuesAndTheirOrigins) {
  const Recipe recipe = Recipe::parse("seed = 5\n[model]\nkind = \"gpt\"\nlayers = 3\n", "a.toml",
                                      {"model.layers=4", "optimizer.lr=1e-4", kData});
  EXPECT_EQ(recipe.seed, 5);
  EXPECT_EQ(recipe.model.kind, ModelKind::gpt);
  EXPECT_EQ(recipe.model.layers, 4);
  EXPECT_EQ(recipe.optimizer.lr, 1e-4);
  EXPECT_EQ(recipe.origins.at("model.kind"), "a.toml:3");
  EXPECT_EQ(recipe.origins.at("model.layers"), "--set");
  EXPECT_FALSE(recipe.origins.contains("model.width"));
}

TEST(Recipe, ResolvedRecipeLoadsToTheSame) {
  const Recipe recipe = Recipe::parse(
      "", "a.toml",
      {"data.train=[\"x.h5\", \"y.h5\"]", "data.weights=[1, 0.5]", "run=my run", "device=cpu"});
  EXPECT_EQ(recipe.run, "my run");
  const Recipe again = Recipe::parse(recipe.to_toml(), "b.toml");
  EXPECT_EQ(differences(list_entries(recipe), list_entries(again)), std::vector<std::string>{});
  EXPECT_THAT(recipe.to_toml(), HasSubstr("device = \"cpu\"  # --set"));
}

TEST(Recipe, SaysWhatIsWrongAndWhere) {
  EXPECT_THAT(error_of("[model]\n\nlayer = 3\n"),
              HasSubstr("a.toml:3: there is no key model.layer; did you mean model.layers?"));
  EXPECT_THAT(error_of("[model]\nlayers = \"three\"\n"),
              HasSubstr("a.toml:2: model.layers must be a whole number, not a text"));
  EXPECT_THAT(error_of("[model]\nlayers = 0\n"),
              HasSubstr("a.toml:2: model.layers must be 1 to 10000, not 0"));
  EXPECT_THAT(error_of("[model]\nkind = \"bert\"\n"),
              HasSubstr("model.kind must be one of \"gpt\", \"llama\", not \"bert\""));
  EXPECT_THAT(error_of("[model]\nwidth = 100\nheads = 7\n"),
              HasSubstr("a.toml:3: model.heads 7 does not divide width = 100"));
  EXPECT_THAT(error_of("", {"train.micro_batch=3"}),
              HasSubstr("--set: train.micro_batch 3 does not divide batch = 32"));
  EXPECT_THAT(error_of("[model\n"), HasSubstr("a.toml:1: "));
  EXPECT_THAT(error_of("", {"nonsense"}), HasSubstr("KEY=VALUE"));
  EXPECT_THAT(error_of("[optimizer]\nlr = nan\n"), HasSubstr("optimizer.lr must be"));
  EXPECT_THAT(error_of("seed = 1979-05-27\n"), HasSubstr("not a date"));
  EXPECT_THAT(error_of("[[model]]\nlayers = 1\n"), HasSubstr("model must be"));
  EXPECT_THAT(error_of("model = 3\n"), HasSubstr("there is no key model"));
}

TEST(Recipe, TellsAllProblemsAtOnce) {
  const std::string message = error_of("[model]\nlayer = 3\n[train]\nstep = 1\n");
  EXPECT_THAT(message, HasSubstr("model.layers"));
  EXPECT_THAT(message, HasSubstr("train.steps"));
}

TEST(Recipe, TakesTheDeviceThatIsThere) {
  const auto device_of = [](const char* text) {
    return Recipe::parse(text, "a.toml", {kData}).resolve_device();
  };
  EXPECT_EQ(device_of("device = \"cpu\"\n"), Device::cpu);
  EXPECT_EQ(device_of("device = \"cuda\"\n"), Device::cuda);  // the emulated one
  EXPECT_EQ(device_of(""), Device::cuda);
}

TEST(Recipe, HelpHasEveryKey) {
  const std::string help = recipe_help();
  for (const Entry& entry : list_entries(Recipe{})) {
    const std::string line = entry.is_group ? "\n[" + entry.key + "]" : "  " + entry.key + " = ";
    EXPECT_NE(help.find(line), std::string::npos) << entry.key;
    EXPECT_FALSE(entry.help.empty()) << entry.key;
  }
}

// Any cut or changed byte of a recipe gives a recipe or an Error.
TEST(Recipe, SurvivesBrokenText) {
  const std::string good = Recipe{}.to_toml();
  int errors = 0;
  for (uint64_t i = 0; i < 3000; ++i) {
    std::string bad = good;
    const auto words = Random(1, "broken").words(i);
    const size_t place = words[0] % bad.size();
    if (words[1] % 3 == 0)
      bad.resize(place);
    else if (words[1] % 3 == 1)
      bad[place] = char(words[2]);
    else
      bad.insert(place, 1 + words[2] % 40, "[{\"'=.\n"[words[3] % 7]);
    try {
      Recipe::parse(bad, "bad.toml");
    } catch (const Error&) {
      ++errors;
    }
  }
  EXPECT_GT(errors, 1000);
}

}  // namespace
}  // namespace limpid
