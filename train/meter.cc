#include "train/meter.h"

#include <unistd.h>

#include <cstdio>

#include "core/log.h"

namespace limpid {

void LogConfig::fields(Fields& f) {
  f.field("every", every, "steps between two lines where the output is not a terminal", kPositive);
  f.field("tensorboard", tensorboard, "write TensorBoard events to the run's tb/");
}

Meter::Meter(const LogConfig& config, const Pace& pace, int64_t first_step)
    : config_(config), pace_(pace), live_(isatty(STDOUT_FILENO)), first_step_(first_step) {}

Meter::~Meter() {
  if (line_open_) std::fputc('\n', stdout);
}

void Meter::step(const StepRecord& record, int64_t step_tokens) {
  const auto smooth = [&](double& mean, double value) {
    mean = mean == 0 ? value : 0.9 * mean + 0.1 * value;
  };
  smooth(tokens_per_s_, double(step_tokens) / record.seconds);
  smooth(seconds_per_step_, record.seconds);
  if (live_) {
    std::printf("\r\033[K%s", line(record).c_str());
    std::fflush(stdout);
    line_open_ = true;
  } else if (record.step % config_.every == 0 || record.step == pace_.steps ||
             record.step == first_step_ + 1) {
    log_line(line(record));
  }
}

void Meter::say(const std::string& text) {
  if (line_open_) std::fputs("\r\033[K", stdout);
  line_open_ = false;
  log_line(text);
}

std::string Meter::line(const StepRecord& record) const {
  const double left = double(pace_.steps - record.step) * seconds_per_step_;
  std::string out =
      format("step {}/{}  loss {:.4f}  lr {:.2e}  norm {:.2f}  {} tokens/s", record.step,
             pace_.steps, record.loss, record.lr, record.grad_norm, human_count(tokens_per_s_));
  if (pace_.peak_flops_per_s > 0)
    out += format("  {:.0f}% of peak",
                  100 * tokens_per_s_ * pace_.flops_per_token / pace_.peak_flops_per_s);
  return out +
         format("  {} left{}", human_seconds(left), record.skipped ? "  SKIPPED: not finite" : "");
}

}  // namespace limpid
