// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/config_yaml.h"

#include "gradwind/core/error.h"

#include <fstream>
#include <sstream>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

namespace gradwind
{

namespace
{

constexpr int max_depth = 100;
constexpr int max_values = 1'000'000; // aliases can multiply a small file without end

class YamlReader
{
public:
    explicit YamlReader(const std::string& source) : source_(source) {}

    ConfigDraft read(const YAML::Node& node, int line, int depth)
    {
        const Origin origin{source_, line};
        GRADWIND_CHECK(depth < max_depth, ConfigError, "[config] {}: more than {} levels of nesting", origin.str(),
                       max_depth);
        GRADWIND_CHECK(++values_ < max_values, ConfigError, "[config] {}: more than {} values", origin.str(),
                       max_values);
        switch (node.Type()) {
        case YAML::NodeType::Scalar:
            return scalar(node, origin);
        case YAML::NodeType::Sequence:
            return list(node, origin, depth);
        case YAML::NodeType::Map:
            return map(node, origin, depth);
        default:
            break;
        }
        ConfigDraft null;
        null.origin = origin;
        return null;
    }

private:
    static int line_of(const YAML::Node& node, int fallback)
    {
        return node.Mark().is_null() ? fallback : node.Mark().line + 1;
    }

    static ConfigDraft scalar(const YAML::Node& node, const Origin& origin)
    {
        if (node.Tag() == "?" || node.Tag().empty()) // plain, without quotes
            return typed_scalar(node.Scalar(), origin);
        ConfigDraft out;
        out.origin = origin;
        out.set_string(node.Scalar());
        return out;
    }

    ConfigDraft list(const YAML::Node& node, const Origin& origin, int depth)
    {
        ConfigDraft out;
        out.kind = Config::Kind::List;
        out.origin = origin;
        for (const auto& item : node)
            out.children.push_back(read(item, line_of(item, origin.line), depth + 1));
        return out;
    }

    ConfigDraft map(const YAML::Node& node, const Origin& origin, int depth)
    {
        ConfigDraft out;
        out.kind = Config::Kind::Map;
        out.origin = origin;
        ConfigDraft merged; // of `<<: *anchor`: gives the keys that the map itself does not have
        for (const auto& entry : node) {
            const int line = line_of(entry.first, origin.line);
            GRADWIND_CHECK(entry.first.IsScalar() || entry.first.IsNull(), ConfigError,
                           "[config] {}:{}: a key must be a word, not a list or mapping", source_, line);
            const auto key = entry.first.IsNull() ? std::string("null") : entry.first.Scalar();
            auto value = read(entry.second, line, depth + 1);
            if (key == "<<" && value.is_map()) {
                merged = std::move(value);
                continue;
            }
            GRADWIND_CHECK(!out.child(key), ConfigError, "[config] {}:{}: key `{}` is there twice", source_, line, key);
            out.keys.push_back(key);
            out.children.push_back(std::move(value));
        }
        for (size_t i = 0; i < merged.keys.size(); ++i)
            if (!out.child(merged.keys[i]))
                out.make_child(merged.keys[i], origin) = std::move(merged.children[i]);
        return out;
    }

    std::string source_;
    int values_ = 0;
};

/// Remembers where a document begins and nothing else.
class DocumentStart : public YAML::EventHandler
{
public:
    int line = 0;
    void OnDocumentStart(const YAML::Mark& mark) override { line = mark.line + 1; }
    void OnDocumentEnd() override {}
    void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
    void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
    void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t, const std::string&) override {}
    void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
    void OnSequenceEnd() override {}
    void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
    void OnMapEnd() override {}
};

/// YAML::Load would pass over what follows the first document, and YAML::LoadAll does not end on a stray bracket.
void check_single_document(const std::string& text, const std::string& source)
{
    std::istringstream in(text);
    YAML::Parser parser(in);
    DocumentStart start;
    if (parser.HandleNextDocument(start) && parser.HandleNextDocument(start))
        throw ConfigError(fmt::format("[config] {}:{}: a second YAML document begins where the first should have ended",
                                      source, start.line));
}

/// `{key: ???}` is no YAML because of the question marks; `{key: "???"}` is.
std::string with_quoted_marks(std::string text)
{
    for (size_t at = text.find(": ???"); at != std::string::npos; at = text.find(": ???", at + 5)) {
        const auto next = text.find_first_not_of(' ', at + 5);
        if (next != std::string::npos && (text[next] == '}' || text[next] == ','))
            text.replace(at, 5, ": \"???\"");
    }
    return text;
}

} // namespace

ConfigDraft parse_yaml(const std::string& text, const std::string& source)
{
    try {
        const auto marked = with_quoted_marks(text);
        check_single_document(marked, source);
        return YamlReader(source).read(YAML::Load(marked), 1, 0);
    } catch (const YAML::Exception& error) {
        throw ConfigError(fmt::format("[config] {}:{}: bad YAML: {}", source, error.mark.line + 1, error.msg));
    }
}

std::string read_text_file(const std::filesystem::path& path)
{
    std::ifstream in(path, std::ios::binary);
    std::ostringstream text;
    if (in && !std::filesystem::is_directory(path))
        text << in.rdbuf();
    GRADWIND_CHECK(in && !std::filesystem::is_directory(path), ConfigError, "[config] cannot read `{}`", path.string());
    return text.str();
}

ConfigDraft parse_yaml_file(const std::filesystem::path& path)
{
    return parse_yaml(read_text_file(path), path.string());
}

} // namespace gradwind
