// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What type a plain YAML scalar has: YAML 1.1 with the numbers of OmegaConf, which is what Hydra users write.
#include "gradwind/core/config_draft.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <limits>

namespace gradwind
{

namespace
{

template <size_t N>
bool is_one_of(std::string_view text, const std::array<std::string_view, N>& words)
{
    return std::find(words.begin(), words.end(), text) != words.end();
}

constexpr std::array<std::string_view, 5> null_words = {"", "~", "null", "Null", "NULL"};
constexpr std::array<std::string_view, 9> true_words = {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"};
constexpr std::array<std::string_view, 9> false_words = {"false", "False", "FALSE", "no", "No",
                                                         "NO",    "off",   "Off",   "OFF"};

bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/// Length of digits with single underscores between them, as in 1_000; 0 if it does not begin with a digit.
size_t digits(std::string_view text)
{
    size_t n = 0;
    while (n < text.size() &&
           (is_digit(text[n]) || (text[n] == '_' && n > 0 && n + 1 < text.size() && is_digit(text[n + 1]))))
        ++n;
    return n;
}

/// Length of an exponent such as e-3; 0 if there is none.
size_t exponent(std::string_view text)
{
    if (text.empty() || (text[0] != 'e' && text[0] != 'E'))
        return 0;
    size_t n = 1;
    if (n < text.size() && (text[n] == '+' || text[n] == '-'))
        ++n;
    const size_t first = n;
    while (n < text.size() && is_digit(text[n]))
        ++n;
    return n == first ? 0 : n;
}

std::string without_underscores(std::string_view text)
{
    std::string out(text);
    out.erase(std::remove(out.begin(), out.end(), '_'), out.end());
    return out;
}

bool parse_int(std::string_view text, int64_t& value)
{
    std::string_view body = text;
    const bool negative = !body.empty() && body[0] == '-';
    if (!body.empty() && (body[0] == '-' || body[0] == '+'))
        body.remove_prefix(1);
    int base = 10;
    if (body.size() > 2 && body[0] == '0' && (body[1] == 'x' || body[1] == 'b')) {
        base = body[1] == 'x' ? 16 : 2;
        body.remove_prefix(2);
    } else if (body.size() > 1 && body[0] == '0') {
        base = 8;
    } else if (digits(body) != body.size() || body.empty()) {
        return false;
    }
    const auto clean = (negative ? "-" : "") + without_underscores(body);
    const auto [end, error] = std::from_chars(clean.data(), clean.data() + clean.size(), value, base);
    return error == std::errc() && end == clean.data() + clean.size();
}

bool has_form_of_real(std::string_view body, bool has_sign)
{
    const size_t whole = digits(body);
    if (whole == 0) { // .5, without a sign
        const size_t fraction = body.size() > 1 && body[0] == '.' && !has_sign ? digits(body.substr(1)) : 0;
        const size_t used = 1 + fraction;
        return fraction > 0 && (used == body.size() || used + exponent(body.substr(used)) == body.size());
    }
    size_t used = whole;
    const bool point = used < body.size() && body[used] == '.';
    if (point)
        for (++used; used < body.size() && (is_digit(body[used]) || body[used] == '_');)
            ++used;
    const size_t power = exponent(body.substr(used));
    return (point || power > 0) && used + power == body.size();
}

bool parse_real(std::string_view text, double& value)
{
    const bool has_sign = !text.empty() && (text[0] == '-' || text[0] == '+');
    const auto body = has_sign ? text.substr(1) : text;
    const double sign = has_sign && text[0] == '-' ? -1 : 1;
    if (body == ".inf" || body == ".Inf" || body == ".INF") {
        value = sign * std::numeric_limits<double>::infinity();
        return true;
    }
    if (!has_sign && (body == ".nan" || body == ".NaN" || body == ".NAN")) {
        value = std::numeric_limits<double>::quiet_NaN();
        return true;
    }
    if (!has_form_of_real(body, has_sign))
        return false;
    value = sign * std::strtod(without_underscores(body).c_str(), nullptr);
    return true;
}

} // namespace

ConfigDraft typed_scalar(const std::string& text, Origin origin)
{
    ConfigDraft out;
    out.origin = std::move(origin);
    out.text = text;
    if (is_one_of(text, null_words)) {
        out.text.clear();
    } else if (is_one_of(text, true_words) || is_one_of(text, false_words)) {
        out.kind = Config::Kind::Bool;
        out.boolean = is_one_of(text, true_words);
    } else if (parse_int(text, out.integer)) {
        out.kind = Config::Kind::Int;
    } else if (parse_real(text, out.real)) {
        out.kind = Config::Kind::Real;
    } else {
        out.kind = Config::Kind::String;
    }
    return out;
}

} // namespace gradwind
