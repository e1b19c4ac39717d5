#include "parallel/place.h"

#include <unistd.h>

#include <charconv>
#include <optional>

#include "core/error.h"

namespace limpid {

Environment process_environment() {
  Environment out;
  for (char** at = environ; *at; ++at) {
    const std::string_view line = *at;
    const size_t equals = line.find('=');
    if (equals != line.npos) out.emplace(line.substr(0, equals), line.substr(equals + 1));
  }
  return out;
}

namespace {

class Variables {
 public:
  explicit Variables(const Environment& environment) : environment_(environment) {}

  bool has(const std::string& name) const { return environment_.contains(name); }
  std::string text(const std::string& name, std::string otherwise = "") const {
    const auto at = environment_.find(name);
    return at == environment_.end() ? otherwise : at->second;
  }
  std::optional<int> number(const std::string& name) const {
    if (!has(name)) return std::nullopt;
    const std::string value = text(name);
    int out = -1;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), out);
    require(error == std::errc() && end == value.data() + value.size() && out >= 0,
            "{}={} is not a number of 0 or more", name, value);
    return out;
  }

 private:
  const Environment& environment_;
};

struct Names {
  const char *rank, *size, *local_rank;
};
constexpr Names kLimpid = {"LIMPID_RANK", "LIMPID_SIZE", "LIMPID_LOCAL_RANK"};
constexpr Names kTorch = {"RANK", "WORLD_SIZE", "LOCAL_RANK"};
constexpr Names kOpenMpi = {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
                            "OMPI_COMM_WORLD_LOCAL_RANK"};

Place place_of(const Variables& variables, const Names& names) {
  const auto rank = variables.number(names.rank), size = variables.number(names.size);
  require(rank && size, "{} is set and {} is not: set both or neither",
          rank ? names.rank : names.size, rank ? names.size : names.rank);
  require(*rank < *size, "{}={} must be less than {}={}", names.rank, *rank, names.size, *size);
  Place out;
  out.rank = *rank;
  out.size = *size;
  // Ranks that nobody placed are taken to be on one machine.
  out.local_rank = variables.number(names.local_rank).value_or(out.rank);
  require(out.local_rank < out.size, "{}={} must be less than {}={}", names.local_rank,
          out.local_rank, names.size, out.size);
  return out;
}

// Ports below those that Linux gives out by itself (32768 on).
int port_of(const std::string& job) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (char c : job) hash = (hash ^ uint8_t(c)) * 0x100000001b3u;
  return 15000 + int(hash % 15000);
}

// A name fit for a Store's key and a folder.
std::string plain(std::string_view text) {
  std::string out;
  for (char c : text.substr(0, 100)) {
    const bool allowed = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    out += allowed || c == '-' || c == '_' ? c : '_';
  }
  return out;
}

Place limpid_place(const Variables& variables) {
  Place out = place_of(variables, kLimpid);
  out.node = variables.number("LIMPID_NODE").value_or(0);
  return out;
}

Place torch_place(const Variables& variables) {
  Place out = place_of(variables, kTorch);
  out.node = variables.number("GROUP_RANK").value_or(0);
  out.job = format("torch-{}-{}", plain(variables.text("TORCHELASTIC_RUN_ID", "none")),
                   plain(variables.text("TORCHELASTIC_RESTART_COUNT", "0")));
  return out;
}

// "tcp:HOST:PORT" from MASTER_ADDR and MASTER_PORT; empty where they are not set.
std::string master_store(const Variables& variables) {
  const bool host = variables.has("MASTER_ADDR");
  const auto port = variables.number("MASTER_PORT");
  require(host == port.has_value(), "{} is set and {} is not: set both or neither",
          host ? "MASTER_ADDR" : "MASTER_PORT", host ? "MASTER_PORT" : "MASTER_ADDR");
  if (!host) return "";
  // torchrun itself listens at MASTER_PORT where it says so.
  const bool taken = variables.text("TORCHELASTIC_USE_AGENT_STORE") == "True";
  return format("tcp:{}:{}", variables.text("MASTER_ADDR"), *port + (taken ? 1 : 0));
}

Place open_mpi_place(const Variables& variables) {
  Place out = place_of(variables, kOpenMpi);
  out.node =
      variables.number("OMPI_COMM_WORLD_NODE_RANK") && variables.has("OMPI_COMM_WORLD_LOCAL_SIZE")
          ? out.rank / std::max(1, *variables.number("OMPI_COMM_WORLD_LOCAL_SIZE"))
          : 0;
  out.job =
      "mpi-" + plain(variables.text("PMIX_NAMESPACE", variables.text("OMPI_MCA_ess_base_jobid")));
  if (out.size > 1 && variables.number("OMPI_COMM_WORLD_LOCAL_SIZE") == out.size)
    out.store = format("tcp:127.0.0.1:{}", port_of(out.job));
  return out;
}

// In a batch script or under salloc the job's variables are there, and only one process is.
bool is_slurm_step(const Variables& variables, bool by_hand) {
  const std::string step = variables.text("SLURM_STEP_ID");
  // The last two: the steps of the batch script and of salloc's shell, as numbers.
  const bool shell = step.empty() || step == "batch" || step == "interactive" ||
                     step == "4294967291" || step == "4294967290";
  if (!shell && variables.has("SLURM_PROCID")) return true;
  const auto tasks = variables.number("SLURM_NTASKS");
  require(by_hand || !tasks || *tasks == 1,
          "this job has SLURM_NTASKS={}, and this process is none of them (SLURM_STEP_ID is {}): "
          "start it with srun, or with srun -n1 for one rank",
          tasks.value_or(0), step.empty() ? "not set" : step);
  return false;
}

Place slurm_place(const Variables& variables) {
  const char* const tasks =
      variables.has("SLURM_STEP_NUM_TASKS") ? "SLURM_STEP_NUM_TASKS" : "SLURM_NTASKS";
  Place out = place_of(variables, {"SLURM_PROCID", tasks, "SLURM_LOCALID"});
  out.node = variables.number("SLURM_NODEID").value_or(0);
  out.job = format("slurm-{}-{}-{}", plain(variables.text("SLURM_JOB_ID")),
                   plain(variables.text("SLURM_STEP_ID")),
                   plain(variables.text("SLURM_RESTART_COUNT", "0")));
  const std::string hosts =
      variables.text("SLURM_STEP_NODELIST", variables.text("SLURM_JOB_NODELIST"));
  if (out.size > 1 && !hosts.empty())
    out.store = format("tcp:{}:{}", expand_hosts(hosts)[0], port_of(out.job));
  return out;
}

// RANK and WORLD_SIZE that no torchrun set: left over from somewhere, unless they agree.
void require_agreement(const Variables& variables, const Place& place, std::string_view launcher) {
  if (!variables.has("RANK") && !variables.has("WORLD_SIZE")) return;
  const Place by_hand = place_of(variables, kTorch);
  require(by_hand.rank == place.rank && by_hand.size == place.size,
          "RANK={} and WORLD_SIZE={} contradict {}, which has rank {} of {}: unset them",
          by_hand.rank, by_hand.size, launcher, place.rank, place.size);
}

}  // namespace

Place find_place(const Environment& environment) {
  const Variables variables(environment);
  const auto set = [&](const Names& names) {
    return variables.has(names.rank) || variables.has(names.size);
  };
  const bool torchrun = variables.has("TORCHELASTIC_RUN_ID") || variables.has("LOCAL_WORLD_SIZE");
  const bool by_hand = set(kTorch) && !torchrun;
  Place out;
  if (set(kLimpid)) {
    out = limpid_place(variables);
  } else if (set(kTorch) && torchrun) {
    out = torch_place(variables);
  } else if (set(kOpenMpi)) {
    out = open_mpi_place(variables);
    require_agreement(variables, out, "mpirun");
  } else if (variables.has("SLURM_JOB_ID") && is_slurm_step(variables, by_hand)) {
    out = slurm_place(variables);
    require_agreement(variables, out, "srun (SLURM_PROCID, SLURM_NTASKS)");
  } else if (by_hand) {
    out = torch_place(variables);
  }
  if (out.size == 1) return out;
  const std::string master = master_store(variables);
  if (!master.empty()) out.store = master;
  out.store = variables.text("LIMPID_STORE", out.store);
  out.job = plain(variables.text("LIMPID_JOB", out.job));
  return out;
}

namespace {

constexpr size_t kMaxHosts = 65536;

// Appends every name + number of "001-003,7" to out.
std::vector<std::string> expand_ranges(const std::vector<std::string>& heads,
                                       std::string_view ranges, std::string_view list) {
  std::vector<std::string> out;
  const auto bad = [&] { fail("\"{}\" is no list of hosts as Slurm writes them", list); };
  const auto value_of = [&](std::string_view digits) {
    uint32_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size()) bad();
    return value;
  };
  for (const std::string& head : heads) {
    std::string_view rest = ranges;
    for (bool more = true; more;) {
      const size_t comma = rest.find(',');
      const std::string_view range = rest.substr(0, comma);
      more = comma != rest.npos;
      if (more) rest.remove_prefix(comma + 1);
      const size_t dash = range.find('-');
      const std::string_view first = range.substr(0, dash);
      const uint64_t begin = value_of(first);
      const uint64_t end = dash == range.npos ? begin : value_of(range.substr(dash + 1));
      if (end < begin) bad();
      for (uint64_t n = begin; n <= end; ++n) {
        const std::string digits = std::to_string(n);
        const size_t zeros = digits.size() < first.size() ? first.size() - digits.size() : 0;
        out.push_back(head + std::string(zeros, '0') + digits);
        require(out.size() <= kMaxHosts, "\"{}\" has more than {} hosts", list.substr(0, 200),
                kMaxHosts);
      }
    }
  }
  return out;
}

// One host, or several by brackets in its name.
std::vector<std::string> expand_host(std::string_view host, std::string_view list) {
  std::vector<std::string> out = {""};
  while (!host.empty()) {
    const size_t open = host.find('[');
    for (std::string& name : out) name += host.substr(0, open);
    if (open == host.npos) break;
    const size_t close = host.find(']', open);
    require(close != host.npos, "\"{}\" is no list of hosts as Slurm writes them", list);
    out = expand_ranges(out, host.substr(open + 1, close - open - 1), list);
    host.remove_prefix(close + 1);
  }
  return out;
}

}  // namespace

std::vector<std::string> expand_hosts(std::string_view list) {
  std::vector<std::string> out;
  size_t begin = 0;
  int depth = 0;
  for (size_t i = 0; i <= list.size(); ++i) {
    const char c = i < list.size() ? list[i] : ',';
    depth += (c == '[') - (c == ']');
    if (c != ',' || (depth > 0 && i < list.size())) continue;
    require(i > begin && depth == 0, "\"{}\" is no list of hosts as Slurm writes them", list);
    for (std::string& host : expand_host(list.substr(begin, i - begin), list))
      out.push_back(std::move(host));
    require(out.size() <= kMaxHosts, "\"{}\" has more than {} hosts", list.substr(0, 200),
            kMaxHosts);
    begin = i + 1;
  }
  return out;
}

}  // namespace limpid
