// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The errors of the project. A new type is added only if a caller would act differently on it.
#pragma once
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <stdexcept>
#include <string>

namespace gradwind
{

/// What `main` returns for each kind of error; part of the command line's interface.
enum class ExitCode : int {
    Ok = 0,
    Config = 2,
    Data = 3,
    Communication = 4,
    Checkpoint = 5,
    /// Stopped by a signal after a checkpoint was written: `--resume` goes on from there.
    Interrupted = 6,
    Internal = 70,
};

/// Base of everything gradwind throws. The message says what was expected, what was found, where, and what to do.
class Error : public std::runtime_error
{
public:
    Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
    [[nodiscard]] ExitCode code() const noexcept { return code_; }

private:
    ExitCode code_;
};

/// A configuration, command line or layout that cannot work.
class ConfigError : public Error
{
public:
    explicit ConfigError(const std::string& message) : Error(ExitCode::Config, message) {}
};

/// A data set, graph file or field that is missing, damaged or not what was declared.
class DataError : public Error
{
public:
    explicit DataError(const std::string& message) : Error(ExitCode::Data, message) {}
};

/// A tensor whose shape or type does not fit; names the operation and both shapes.
class ShapeError : public Error
{
public:
    explicit ShapeError(const std::string& message) : Error(ExitCode::Data, message) {}
};

/// A collective failed or timed out. The group is dead afterwards.
class CommError : public Error
{
public:
    explicit CommError(const std::string& message) : Error(ExitCode::Communication, message) {}
};

/// A checkpoint that cannot be written, read or used with this configuration.
class CheckpointError : public Error
{
public:
    explicit CheckpointError(const std::string& message) : Error(ExitCode::Checkpoint, message) {}
};

/// A broken invariant: a bug of ours.
class InternalError : public Error
{
public:
    explicit InternalError(const std::string& message) : Error(ExitCode::Internal, message) {}
};

} // namespace gradwind

/// Throws ErrorType with a formatted message unless the condition holds. A macro, so that the message is built only
/// then.
#define GRADWIND_CHECK(condition, ErrorType, ...)                                                                      \
    do {                                                                                                               \
        if (!(condition)) [[unlikely]]                                                                                 \
            throw ::gradwind::ErrorType(::fmt::format(__VA_ARGS__));                                                   \
    } while (false)

/// An invariant of our own code; a failure is an InternalError that names the place.
#define GRADWIND_ASSERT(condition)                                                                                     \
    GRADWIND_CHECK(condition, InternalError, "[internal] {}:{}: {} does not hold", __FILE__, __LINE__, #condition)
