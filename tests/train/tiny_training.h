// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// A training of seconds on a few hundred cells, run in processes of its own.
#pragma once
#include "gradwind/train/progress.h"
#include "gradwind/train/step_hooks.h"
#include "gradwind/train/trainer.h"

#include <ATen/core/Tensor.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace gradwind::train
{

/// A folder with a data set of 40 dates on 208 cells, in chunks of 26, and a configuration, removed at the end of the
/// test. Beside it a second data set of 40 dates on 144 cells with other variables, which begins two days later.
///
/// Processes that the test starts find it through the environment, so both see the same paths.
class TinyTraining
{
public:
    TinyTraining();
    ~TinyTraining();
    TinyTraining(const TinyTraining&) = delete;
    TinyTraining& operator=(const TinyTraining&) = delete;

    [[nodiscard]] std::filesystem::path run_dir(const std::string& name) const { return folder_ / name; }
    /// @param name "tiny", "tiny_ens" for a small ensemble, or of both data sets "tiny_two" and "tiny_two_ens": 30
    /// samples in an epoch
    [[nodiscard]] std::filesystem::path config_file(const std::string& name = "tiny") const
    {
        return folder_ / (name + ".yaml");
    }
    /// 38 samples in an epoch, 12 in a step: the last step of an epoch has 2.
    static constexpr int64_t kStepsPerEpoch = 4;

private:
    void create_store(const std::string& name, const std::string& recipe) const;

    std::filesystem::path folder_;
    bool is_owner_ = false;
};

/// Does something at a step, after it was done: raises a signal, say.
using AtStep = std::function<void(int64_t step)>;

struct TinyRun {
    std::string name;                   ///< of the run folder
    std::vector<std::string> overrides; ///< of the configuration
    bool resume = false;
    int n_processes = 1;
    int expected_exit = 0; ///< of every process
    std::string config = "tiny";
};

/// Runs a training in fresh processes. To be called by the parent only; in the children run_child() does the work.
/// @return what rank 0 wrote
std::string start(const TinyRun& run);
/// What the children of start() do; ends the process. @param at_step  called by every rank @param hooks  or null
[[noreturn]] void run_child(const TinyTraining& training, const AtStep& at_step = {}, StepHooks* hooks = nullptr);

/// For run_child(): raises SIGTERM after the step that $GRADWIND_TEST_STOP names. Slowly, since ranks ask each other
/// about signals twice a second and a run that is to be stopped must not be over by then.
void stop_where_asked(int64_t step);

/// All weights of a run's newest checkpoint by name, as double.
[[nodiscard]] std::map<std::string, at::Tensor> weights_of(const std::filesystem::path& run_dir);
/// Rows of metrics.jsonl of one kind.
[[nodiscard]] std::vector<nlohmann::json> rows_of(const std::filesystem::path& run_dir, const std::string& event);
/// What one rank handed to collectives in all its steps, by "group/verb".
[[nodiscard]] std::map<std::string, int64_t> step_bytes_of(const std::filesystem::path& run_dir, int rank);
/// Samples of every step, replica after replica, from the records of n ranks, of which `model_size` share a replica.
[[nodiscard]] std::vector<std::vector<int64_t>> samples_of(const std::filesystem::path& run_dir, int n_processes,
                                                           int model_size = 1);
/// Norm of the difference of all weights over the norm of all weights.
[[nodiscard]] double relative_difference(const std::map<std::string, at::Tensor>& a,
                                         const std::map<std::string, at::Tensor>& b);

} // namespace gradwind::train
