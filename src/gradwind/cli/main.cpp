// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/cli/parse.h"
#include "gradwind/core/error.h"
#include "gradwind/core/thread_waiting.h"
#include "gradwind/parallel/world.h"

#include <c10/util/Exception.h>

#include <cstdlib>
#include <exception>
#include <iostream>

namespace gradwind::cli
{

namespace
{

int run(const ShowText& show, std::ostream& out)
{
    out << show.text;
    return 0;
}

/// Without destructors, one of which is what takes so long.
[[noreturn]] void leave(const std::string& reason)
{
    std::cerr << "gradwind: " << reason << std::endl;
    std::_Exit(int(ExitCode::Communication));
}

int guarded_main(int argc, char** argv)
{
    parallel::set_last_resort(leave);
    try {
        return std::visit([](const auto& command) { return run(command, std::cout); }, parse(argc, argv));
    } catch (const Error& error) {
        std::cerr << "gradwind: " << error.what() << "\n";
        return int(error.code());
    } catch (const std::bad_alloc&) {
        std::cerr << "gradwind: out of memory\n";
    } catch (const c10::Error& error) { // its what() has the stack
        std::cerr << "gradwind: unexpected error, please report it: " << error.what_without_backtrace() << "\n";
    } catch (const std::exception& error) {
        std::cerr << "gradwind: unexpected error, please report it: " << error.what() << "\n";
    }
    return int(ExitCode::Internal);
}

} // namespace

} // namespace gradwind::cli

int main(int argc, char** argv)
{
    gradwind::let_waiting_threads_sleep(argv);
    return gradwind::cli::guarded_main(argc, argv);
}
