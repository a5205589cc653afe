// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/launch.h"

#include "gradwind/core/error.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <charconv>

namespace gradwind::parallel
{
namespace
{

/// The variables in which one launcher says who we are. Empty names: it does not say.
struct Dialect {
    Launcher launcher;
    std::string rank, world, local_rank, local_world;
};

const std::vector<Dialect>& dialects()
{
    static const std::vector<Dialect> all = {
        {Launcher::Local, "GRADWIND_RANK", "GRADWIND_WORLD", "GRADWIND_RANK", "GRADWIND_WORLD"},
        {Launcher::Torchrun, "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"},
        {Launcher::OpenMpi, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
         "OMPI_COMM_WORLD_LOCAL_SIZE"},
        {Launcher::Pmi, "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"},
        {Launcher::Slurm, "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", ""},
    };
    return all;
}

std::optional<std::string> lookup(const Variables& variables, const std::string& name)
{
    const auto found = variables.find(name);
    return found == variables.end() || found->second.empty() ? std::nullopt : std::optional(found->second);
}

std::optional<int> number(const Variables& variables, const std::string& name)
{
    const auto text = lookup(variables, name);
    if (!text)
        return std::nullopt;
    int value = -1;
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
    GRADWIND_CHECK(error == std::errc() && end == text->data() + text->size() && value >= 0, ConfigError,
                   "[launch] {} should be a number that is not negative, found `{}`", name, *text);
    return value;
}

/// SLURM_TASKS_PER_NODE "4(x2),3" holds the tasks of every node; this is the entry of one node.
int slurm_local_world(const Variables& variables, int fallback)
{
    auto text = lookup(variables, "SLURM_STEP_TASKS_PER_NODE");
    if (!text)
        text = lookup(variables, "SLURM_TASKS_PER_NODE");
    int node = number(variables, "SLURM_NODEID").value_or(0);
    for (size_t at = 0; text && at < text->size();) {
        size_t comma = std::min(text->find(',', at), text->size());
        const std::string entry = text->substr(at, comma - at);
        const size_t times = entry.find("(x");
        const int tasks = std::atoi(entry.c_str());
        node -= times == std::string::npos ? 1 : std::max(1, std::atoi(entry.c_str() + times + 2));
        if (node < 0)
            return std::max(1, tasks);
        at = comma + 1;
    }
    return fallback;
}

/// What one launcher says, if it started us.
std::optional<Environment> listen(const Dialect& dialect, const Variables& variables)
{
    // Slurm sets SLURM_PROCID in a batch script too, where nobody started the other tasks.
    const bool in_step = lookup(variables, "SLURM_STEP_ID") || lookup(variables, "SLURM_STEPID");
    if (dialect.launcher == Launcher::Slurm && !in_step)
        return std::nullopt;
    const auto rank = number(variables, dialect.rank);
    auto world = number(variables, dialect.world);
    if (dialect.launcher == Launcher::Slurm)
        world = number(variables, "SLURM_STEP_NUM_TASKS") ? number(variables, "SLURM_STEP_NUM_TASKS") : world;
    if (!rank && !world)
        return std::nullopt;
    GRADWIND_CHECK(rank && world, ConfigError, "[launch] {} is set but {} is not: set both (as {} does) or neither",
                   rank ? dialect.rank : dialect.world, rank ? dialect.world : dialect.rank, name_of(dialect.launcher));
    GRADWIND_CHECK(*rank < *world, ConfigError, "[launch] {} = {} should be less than {} = {}", dialect.rank, *rank,
                   dialect.world, *world);
    Environment found;
    found.launcher = dialect.launcher;
    found.rank = *rank;
    found.world = *world;
    const auto local_rank = number(variables, dialect.local_rank);
    GRADWIND_CHECK(local_rank || *world == 1, ConfigError,
                   "[launch] {} is set but {} is not: it says which GPU of the node is ours", dialect.rank,
                   dialect.local_rank);
    found.local_rank = local_rank.value_or(0);
    const auto local_world = dialect.local_world.empty() ? std::nullopt : number(variables, dialect.local_world);
    found.local_world = dialect.launcher == Launcher::Slurm ? slurm_local_world(variables, found.world)
                                                            : local_world.value_or(found.world);
    GRADWIND_CHECK(found.local_rank < found.local_world && found.local_world <= found.world, ConfigError,
                   "[launch] {} says local rank {} of {} in a world of {}: these contradict each other",
                   name_of(found.launcher), found.local_rank, found.local_world, found.world);
    return found;
}

/// A port that all processes of a job derive from its id and other jobs on the node hardly share.
int port_of_job(const std::string& id)
{
    uint32_t hash = 2166136261u; // FNV-1a
    for (const char c : id)
        hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
    return 20000 + static_cast<int>(hash % 12000); // below the range that Linux gives to outgoing connections
}

std::string job_id(const Variables& variables)
{
    std::string id;
    for (const char* name :
         {"SLURM_JOB_ID", "SLURM_STEP_ID", "PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid", "PMI_ID_JOB"})
        id += lookup(variables, name).value_or("") + "/";
    return id + std::to_string(::getuid());
}

Rendezvous find_rendezvous(const Environment& found, const Variables& variables)
{
    Rendezvous meeting;
    if (const auto file = lookup(variables, "GRADWIND_RENDEZVOUS"); file && found.launcher == Launcher::Local) {
        meeting.file = *file;
        return meeting;
    }
    meeting.host = lookup(variables, "MASTER_ADDR").value_or("");
    meeting.port = number(variables, "MASTER_PORT").value_or(0);
    if (found.launcher == Launcher::Torchrun || found.launcher == Launcher::Local) {
        GRADWIND_CHECK(!meeting.host.empty() && meeting.port > 0, ConfigError,
                       "[launch] RANK and WORLD_SIZE are set but MASTER_ADDR or MASTER_PORT is not: torchrun sets all "
                       "four; set them, or unset RANK and WORLD_SIZE");
        meeting.served = lookup(variables, "TORCHELASTIC_USE_AGENT_STORE").value_or("") == "True";
        return meeting;
    }
    if (meeting.host.empty()) {
        auto nodes = lookup(variables, "SLURM_STEP_NODELIST");
        if (!nodes)
            nodes = lookup(variables, "SLURM_JOB_NODELIST");
        if (found.local_world == found.world)
            meeting.host = "127.0.0.1";
        else if (nodes)
            meeting.host = first_host(*nodes);
    }
    GRADWIND_CHECK(
        !meeting.host.empty(), ConfigError,
        "[launch] {} started {} processes on several nodes but does not say where rank 0 runs: set MASTER_ADDR "
        "to that host (mpirun -x MASTER_ADDR=...)",
        name_of(found.launcher), found.world);
    if (meeting.port == 0)
        meeting.port = port_of_job(job_id(variables));
    return meeting;
}

} // namespace

Variables process_variables()
{
    Variables variables;
    for (char** entry = environ; entry && *entry; ++entry) {
        const std::string text = *entry;
        if (const size_t equals = text.find('='); equals != std::string::npos)
            variables[text.substr(0, equals)] = text.substr(equals + 1);
    }
    return variables;
}

const char* name_of(Launcher launcher)
{
    switch (launcher) {
    case Launcher::Local:
        return "--nproc";
    case Launcher::Torchrun:
        return "torchrun";
    case Launcher::OpenMpi:
        return "mpirun (Open MPI)";
    case Launcher::Pmi:
        return "mpirun (PMI)";
    case Launcher::Slurm:
        return "srun";
    case Launcher::None:
        break;
    }
    return "no launcher";
}

Environment resolve_environment(const Variables& variables)
{
    std::optional<Environment> winner;
    std::string others;
    for (const Dialect& dialect : dialects()) {
        const auto found = listen(dialect, variables);
        if (!found)
            continue;
        if (!winner) {
            winner = found;
            continue;
        }
        // A launcher inside another one multiplies its processes; fewer mean that several jobs do the same work.
        GRADWIND_CHECK(
            winner->world >= found->world, ConfigError,
            "[launch] {} says that the job has {} processes, {} around it started {}: each would train alone. "
            "Start {} with one task per node, or leave one of the two out",
            name_of(winner->launcher), winner->world, name_of(found->launcher), found->world, name_of(found->launcher));
        others += fmt::format(", inside {} ({} processes)", name_of(found->launcher), found->world);
    }
    Environment result = winner.value_or(Environment{});
    if (result.world > 1)
        result.rendezvous = find_rendezvous(result, variables);
    result.description = fmt::format("[launch] rank {} of {}, started by {}{}", result.rank, result.world,
                                     name_of(result.launcher), others);
    return result;
}

std::string first_host(const std::string& node_list)
{
    const size_t bracket = node_list.find('[');
    const size_t comma = node_list.find(',');
    if (comma < bracket || bracket == std::string::npos)
        return node_list.substr(0, comma);
    const size_t end = node_list.find_first_of("-,]", bracket + 1);
    const size_t close = node_list.find(']', bracket);
    GRADWIND_CHECK(end != std::string::npos && close != std::string::npos && end > bracket + 1, ConfigError,
                   "[launch] Slurm's node list `{}` is not understood: set MASTER_ADDR to the host of rank 0",
                   node_list);
    const size_t after = std::min(node_list.find(',', close), node_list.size());
    return node_list.substr(0, bracket) + node_list.substr(bracket + 1, end - bracket - 1) +
           node_list.substr(close + 1, after - close - 1);
}

} // namespace gradwind::parallel
