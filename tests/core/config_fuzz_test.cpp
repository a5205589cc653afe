// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Damaged configurations give a ConfigError or a configuration, never a crash, a hang or another exception.
#include "gradwind/core/config_loader.h"
#include "gradwind/core/config_schema.h"
#include "gradwind/core/config_yaml.h"
#include "gradwind/core/error.h"

#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <random>

namespace gradwind
{
namespace
{

const std::string seed_text = R"(# @package _global_
defaults:
- config
- override graph: limited_area
- optional data: none
- _self_
system: &s
  hardware: {num_nodes: 2, num_gpus_per_node: '${oc.env:GRADWIND_FUZZ,4}'}
  input: {dataset: ???, graph: null}
copy: *s
merged: {<<: *s, a: [1, 2.5e-3, on, "x\ty", 'it''s', ~]}
dataloader:
  dataset:
    cutout: [{dataset: a.zarr, area: [60, -20, 30, 40]}, b.zarr]
  training: {datasets: {data: {start: 2019-03-01, end: 2020}}}
model:
  encoder: {num_chunks: 2, hidden_dim: '${.num_chunks}'}
  bounding:
  - _target_: ReluBounding
    variables: [tp, '${data.frequency}']
training:
  precision: 16-mixed
  optimization: {lr: '${training.max_steps}', lr_scheduler: {warmup_t: "${oc.decode:1}"}}
text: |
  several
  lines ${system.hardware.num_nodes}
)";

std::string mutated(std::mt19937& random)
{
    static const std::string alphabet = "{}[]:,-#&*!|>'\"%@`~?$.\\\n\t 0aZ_=<\x01\xff";
    std::string text = seed_text;
    const auto pick = [&](size_t n) { return size_t(random() % n); };
    const size_t edits = 1 + pick(3);
    for (size_t e = 0; e < edits && !text.empty(); ++e) {
        const auto at = pick(text.size());
        switch (pick(5)) {
        case 0:
            text[at] = alphabet[pick(alphabet.size())];
            break;
        case 1:
            text.erase(at, 1 + pick(30));
            break;
        case 2:
            text.insert(at, 1, alphabet[pick(alphabet.size())]);
            break;
        case 3:
            text.insert(at, text.substr(pick(text.size()), pick(60)));
            break;
        case 4:
            text[at] = char(random());
            break;
        }
    }
    return text;
}

TEST(ConfigFuzz, DamagedFilesNeverCrash)
{
    const auto folder = std::filesystem::temp_directory_path() / ("gradwind-fuzz-" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder);
    std::mt19937 random(20190301);
    int loaded = 0;
    int refused = 0;
    for (int i = 0; i < 1500; ++i) {
        const auto text = mutated(random);
        std::ofstream(folder / "x.yaml") << text;
        try {
            const auto config =
                load_config({folder / "x.yaml", {"++k=" + text.substr(text.size() / 2, random() % 20)}});
            static_cast<void>(to_yaml(config, Origins::Show));
            static_cast<void>(to_json_text(config));
            ++loaded;
            static_cast<void>(check_config(config));
        } catch (const ConfigError&) {
            ++refused;
        } catch (const std::exception& error) {
            ADD_FAILURE() << error.what() << "\n" << text;
        }
    }
    std::filesystem::remove_all(folder);
    EXPECT_GT(loaded, 100); // damage that is found at once would test only the YAML parser
    EXPECT_GT(refused, 100);
}

} // namespace
} // namespace gradwind
