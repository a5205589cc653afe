// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/cli/anemoi_bridge.h"

#include "gradwind/core/error.h"
#include "gradwind/core/safetensors.h"
#include "gradwind/parallel/process.h"

#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <sstream>
#include <sys/wait.h>
#include <unistd.h>

namespace gradwind::cli
{

namespace fs = std::filesystem;

namespace
{

/// Where output of the script goes; closed at the end of the scope.
class OutputFile
{
public:
    explicit OutputFile(fs::path path)
        : path_(std::move(path)), fd_(::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600))
    {
        GRADWIND_CHECK(fd_ >= 0, DataError, "[bridge] cannot write {}", path_.string());
    }
    OutputFile(const OutputFile&) = delete;
    OutputFile& operator=(const OutputFile&) = delete;
    ~OutputFile() { ::close(fd_); }
    [[nodiscard]] int fd() const { return fd_; }
    [[nodiscard]] std::string text() const
    {
        std::stringstream text;
        text << std::ifstream(path_).rdbuf();
        return text.str();
    }

private:
    fs::path path_;
    int fd_;
};

std::string python_of(const std::string& chosen)
{
    if (!chosen.empty())
        return chosen;
    const char* from_environment = std::getenv("GRADWIND_PYTHON");
    return from_environment && *from_environment ? from_environment : "python3";
}

/// The script's own message, or the last lines of a traceback.
std::string message_of(const std::string& said)
{
    constexpr std::string_view kMark = "anemoi_bridge: ";
    auto begin = said.rfind(kMark);
    if (begin != std::string::npos)
        begin += kMark.size();
    else
        begin = said.size() > 2000 ? said.size() - 2000 : 0;
    auto text = said.substr(begin);
    while (!text.empty() && text.back() == '\n')
        text.pop_back();
    return text.empty() ? "it said nothing" : text;
}

} // namespace

std::string run_bridge(const std::string& python, const std::vector<std::string>& arguments)
{
    const parallel::PrivateFolder folder;
    const auto script = folder.path() / "anemoi_bridge.py";
    for (const auto& part : bridge_scripts())
        write_file_atomically(folder.path() / part.name, std::as_bytes(std::span(part.text)));
    const OutputFile out(folder.path() / "out"), err(folder.path() / "err");
    const auto chosen = python_of(python);
    parallel::ChildOptions child{
        .command = {"/usr/bin/env", chosen, script.string()}, .stdout_fd = out.fd(), .stderr_fd = err.fd()};
    child.command.insert(child.command.end(), arguments.begin(), arguments.end());
    const auto pid = parallel::spawn_child(child);
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    const int code = parallel::exit_code_of(status);
    GRADWIND_CHECK(code != 127, DataError,
                   "[bridge] there is no Python `{}`: name one that has anemoi-models, anemoi-graphs and "
                   "anemoi-training with --python or GRADWIND_PYTHON",
                   chosen);
    GRADWIND_CHECK(code == 0, DataError, "[bridge] {}", message_of(err.text()));
    return out.text();
}

} // namespace gradwind::cli
