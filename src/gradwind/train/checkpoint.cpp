// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/checkpoint.h"

#include "gradwind/core/error.h"
#include "gradwind/ops/tensor_io.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <unistd.h>

namespace gradwind::train
{

namespace fs = std::filesystem;

namespace
{

constexpr const char* kWeights = "weights.safetensors";
constexpr const char* kOptimizer = "optimizer.safetensors";
constexpr const char* kState = "state.json";
constexpr const char* kPrefix = "step_";
constexpr size_t kMostDifferencesShown = 12;

void sync_folder(const fs::path& folder)
{
    const int handle = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY);
    if (handle < 0)
        return; // some file systems do not open folders; the rename itself is still atomic
    ::fsync(handle);
    ::close(handle);
}

std::optional<int64_t> step_of(const fs::path& folder)
{
    const auto name = folder.filename().string();
    const std::string prefix = kPrefix;
    if (!name.starts_with(prefix) || name.size() == prefix.size() ||
        !std::all_of(name.begin() + long(prefix.size()), name.end(), [](unsigned char c) { return std::isdigit(c); }))
        return std::nullopt;
    return std::stoll(name.substr(prefix.size()));
}

bool is_complete(const fs::path& folder)
{
    return fs::is_regular_file(folder / kState) && fs::is_regular_file(folder / kWeights) &&
           fs::is_regular_file(folder / kOptimizer);
}

nlohmann::json read_state(const fs::path& folder)
{
    std::ifstream in(folder / kState);
    try {
        return nlohmann::json::parse(in);
    } catch (const nlohmann::json::exception& e) {
        throw CheckpointError(fmt::format("[checkpoint] {} is damaged ({}); resume from an older checkpoint",
                                          (folder / kState).string(), e.what()));
    }
}

fs::path resolve(const fs::path& path)
{
    if (is_complete(path))
        return path;
    for (const auto& folder : {path, path / "checkpoints"})
        if (const auto newest = CheckpointFolder(folder).last())
            return *newest;
    throw CheckpointError(fmt::format(
        "[checkpoint] expected a run folder or a checkpoint (a folder with {}, {} and {}) "
        "at {}, found {}",
        kWeights, kOptimizer, kState, path.string(), fs::exists(path) ? "no complete checkpoint" : "nothing"));
}

SafetensorsFile open_tensors(const fs::path& path)
{
    try {
        return SafetensorsFile(path);
    } catch (const DataError& e) {
        throw CheckpointError(fmt::format("[checkpoint] {}; resume from an older checkpoint", e.what()));
    }
}

std::string shape_text(at::IntArrayRef shape)
{
    return fmt::format("[{}]", fmt::join(shape.begin(), shape.end(), ", "));
}

} // namespace

CheckpointFolder::CheckpointFolder(fs::path folder, Retention retention)
    : folder_(std::move(folder)), retention_(std::move(retention))
{
}

fs::path CheckpointFolder::save(const CheckpointContents& contents) const
{
    const auto name = fmt::format("{}{:06d}", kPrefix, contents.step);
    const auto target = folder_ / name, temporary = folder_ / (".writing_" + name), replaced = folder_ / ".replaced";
    std::error_code ignored;
    try {
        fs::create_directories(folder_);
        fs::remove_all(temporary);
        fs::create_directory(temporary);
        ops::write_tensors(temporary / kWeights, contents.weights);
        ops::write_tensors(temporary / kOptimizer, contents.optimizer);
        auto state = contents.state;
        state["step"] = contents.step;
        state["cadences"] = contents.cadences;
        const auto text = state.dump(1) + "\n";
        write_file_atomically(temporary / kState, std::as_bytes(std::span(text)));
        sync_folder(temporary);
        fs::remove_all(replaced);
        if (fs::exists(target))
            fs::rename(target, replaced);
        fs::rename(temporary, target);
        sync_folder(folder_);
        point_last_at(name);
        fs::remove_all(replaced, ignored);
        apply_retention(name);
    } catch (const std::exception& e) {
        fs::remove_all(temporary, ignored);
        throw CheckpointError(fmt::format("[checkpoint] cannot write {}: {}; the older checkpoints are untouched: free "
                                          "some space and go on with `gradwind train --resume`",
                                          target.string(), e.what()));
    }
    return target;
}

void CheckpointFolder::point_last_at(const std::string& name) const
{
    const auto temporary = folder_ / ".last";
    fs::remove(temporary);
    fs::create_directory_symlink(name, temporary);
    fs::rename(temporary, folder_ / "last");
    sync_folder(folder_);
}

void CheckpointFolder::apply_retention(const std::string& newest) const
{
    std::map<std::string, int64_t> seen;
    const auto folders = all();
    for (auto entry = folders.rbegin(); entry != folders.rend(); ++entry) {
        bool keep = entry->second.filename() == newest;
        const auto state = read_state(entry->second);
        for (const auto& cadence : state.value("cadences", std::vector<std::string>{"unknown"})) {
            const auto limit = retention_.find(cadence);
            keep = keep || limit == retention_.end() || limit->second < 0 || seen[cadence] < limit->second;
            ++seen[cadence];
        }
        if (keep)
            continue;
        // Renamed first: a folder that is half removed must not look complete.
        const auto doomed = folder_ / (".removing_" + entry->second.filename().string());
        fs::rename(entry->second, doomed);
        fs::remove_all(doomed);
    }
}

std::map<int64_t, fs::path> CheckpointFolder::all() const
{
    std::map<int64_t, fs::path> result;
    if (!fs::is_directory(folder_))
        return result;
    for (const auto& entry : fs::directory_iterator(folder_))
        if (const auto step = step_of(entry.path()); step && is_complete(entry.path()))
            result[*step] = entry.path();
    return result;
}

std::optional<fs::path> CheckpointFolder::last() const
{
    std::error_code failed;
    const auto named = fs::read_symlink(folder_ / "last", failed);
    if (!failed && is_complete(folder_ / named))
        return folder_ / named;
    const auto folders = all();
    return folders.empty() ? std::nullopt : std::optional(folders.rbegin()->second);
}

Checkpoint Checkpoint::open(const fs::path& path)
{
    const auto folder = resolve(path);
    return {folder, read_state(folder), open_tensors(folder / kWeights), open_tensors(folder / kOptimizer)};
}

void load_tensors(const SafetensorsFile& file, const NamedTensors& destinations)
{
    std::vector<std::string> faults;
    std::map<std::string, const at::Tensor*> wanted;
    for (const auto& [name, tensor] : destinations) {
        wanted[name] = &tensor;
        if (!file.has(name)) {
            faults.push_back(fmt::format("`{}` {} is missing", name, shape_text(tensor.sizes())));
            continue;
        }
        const auto& found = file.info(name).shape;
        const bool is_scalar = tensor.numel() == 1 && found.empty();
        if (!is_scalar && at::IntArrayRef(found) != tensor.sizes())
            faults.push_back(
                fmt::format("`{}` has shape {}, expected {}", name, shape_text(found), shape_text(tensor.sizes())));
    }
    for (const auto& [name, info] : file.tensors())
        if (!wanted.contains(name))
            faults.push_back(fmt::format("`{}` {} is not part of this model", name, shape_text(info.shape)));
    if (!faults.empty()) {
        const auto n_faults = faults.size();
        if (n_faults > kMostDifferencesShown) {
            faults.resize(kMostDifferencesShown);
            faults.push_back(fmt::format("and {} more", n_faults - kMostDifferencesShown));
        }
        throw CheckpointError(fmt::format("[checkpoint] {} does not fit this configuration: {}", file.path().string(),
                                          fmt::join(faults, "; ")));
    }
    const at::NoGradGuard no_grad;
    for (const auto& [name, tensor] : destinations)
        tensor.copy_(ops::read_tensor(file, name).reshape(tensor.sizes()));
}

std::vector<std::string> differences(const nlohmann::json& then, const nlohmann::json& now, const std::string& path)
{
    if (then == now)
        return {};
    if (!then.is_object() || !now.is_object())
        return {fmt::format("{}: was {}, is {}", path, then.dump(), now.dump())};
    std::vector<std::string> result;
    const auto child = [&](const std::string& key) { return path.empty() ? key : path + "." + key; };
    for (const auto& [key, value] : then.items()) {
        const auto below = differences(value, now.contains(key) ? now[key] : nlohmann::json(), child(key));
        result.insert(result.end(), below.begin(), below.end());
    }
    for (const auto& [key, value] : now.items())
        if (!then.contains(key)) {
            const auto below = differences(nlohmann::json(), value, child(key));
            result.insert(result.end(), below.begin(), below.end());
        }
    return result;
}

} // namespace gradwind::train
