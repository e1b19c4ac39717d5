#include <omp.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "core/cuda.h"
#include "kernels/choices.h"
#include "limpid_commit.h"
#include "train/run.h"

namespace limpid {

using Json = nlohmann::ordered_json;

std::string describe_data(Batches& batches) {
  const auto describe = [](const CorpusInfo& corpus) {
    return Json{{"name", corpus.name},
                {"path", corpus.path},
                {"tokens", corpus.tokens},
                {"windows", corpus.windows},
                {"weight", corpus.weight},
                {"content_sha256", corpus.content_hash},
                {"tokenizer_sha256", corpus.tokenizer_hash}};
  };
  Json out = {{"train", Json::array()}, {"validation", Json::array()}};
  for (const CorpusInfo& corpus : batches.corpora()) out["train"].push_back(describe(corpus));
  for (const ValidationSet& set : batches.validation())
    out["validation"].push_back(describe(set.info()));
  return out.dump(1);
}

std::string describe_environment(Stream& stream) {
  utsname system = {};
  uname(&system);
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  return Json{{"limpid_commit", kCommit},
              {"compiler", "g++ " __VERSION__},
              {"openmp_threads", omp_get_max_threads()},
              {"processors", std::thread::hardware_concurrency()},
              {"system", std::string(system.sysname) + " " + system.release + " " + system.machine},
              {"host", host},
              {"device", stream.device == Device::cuda ? cuda::describe_device() : "cpu"},
              {"kernel_choices", kernel_choices(stream)}}
      .dump(1);
}

void choose_kernels_again(Stream& stream, const std::string& environment_json) {
  const Json told = Json::parse(environment_json, nullptr, false);
  if (told.is_object()) set_kernel_choices(stream, told.value("kernel_choices", ""));
}

}  // namespace limpid
