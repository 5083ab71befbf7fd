// One small function per type.
#include "record/value.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>

#include "record/content.h"
#include "record/date.h"
#include "record/text.h"

namespace crmsync::record {
namespace {

using nlohmann::json;

constexpr std::size_t shown = 60;  // bytes of a value that a message repeats

Canonical value(std::string text) {
    if (text.empty()) {
        return {};
    }
    return {.value = std::move(text), .problem = {}};
}

Canonical problem(const Property& property, const std::string& words) {
    return {.value = {}, .problem = std::string(property.name) + ": " + words};
}

Canonical not_a(const Property& property, std::string_view text, const std::string& what) {
    return problem(property, "\"" + cleaned(text, shown) + "\" is not " + what);
}

Canonical canonical_text(const Property& property, std::string_view text) {
    if (auto words = text_problem(text)) {
        return problem(property, *words);
    }
    std::string lines =
        text.find('\r') == std::string_view::npos ? std::string(text) : with_line_feeds(text);
    const std::string_view without = trimmed(lines);
    if (property.ews.form != EwsForm::body) {
        return value(std::string(without));
    }
    // Indentation on the first line of a body is the author's; white space at its end is not kept.
    const auto end = static_cast<std::size_t>(without.data() + without.size() - lines.data());
    lines.resize(without.empty() ? 0 : end);
    return value(std::move(lines));
}

Canonical canonical_date(const Property& property, std::string_view text) {
    const auto time = read_time(text);
    if (!time) {
        return not_a(property, text, "a date (YYYY-MM-DD)");
    }
    const auto day = std::chrono::floor<std::chrono::days>(time->local);
    return means_no_date(day) ? Canonical{} : value(date_text(day));
}

Canonical canonical_timestamp(const Property& property, std::string_view text) {
    const auto time = read_time(text);
    if (!time) {
        return not_a(property, text, "a timestamp (YYYY-MM-DD HH:MM:SS and a zone)");
    }
    const auto instant = time->utc();
    const bool none = means_no_date(std::chrono::floor<std::chrono::days>(instant));
    return none ? Canonical{} : value(timestamp_text(instant));
}

Canonical canonical_boolean(const Property& property, std::string_view text) {
    constexpr std::array<std::string_view, 6> yes{"true", "t", "yes", "y", "on", "1"};
    constexpr std::array<std::string_view, 6> no{"false", "f", "no", "n", "off", "0"};
    const std::string word = lower_ascii(text);
    if (std::find(yes.begin(), yes.end(), word) != yes.end()) {
        return value("true");
    }
    if (std::find(no.begin(), no.end(), word) != no.end()) {
        return value("false");
    }
    return not_a(property, text, "true or false");
}

Canonical canonical_integer(const Property& property, std::string_view text) {
    std::int64_t number = 0;
    const std::string_view digits = text.starts_with('+') ? text.substr(1) : text;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (error != std::errc{} || end != digits.data() + digits.size()) {
        return not_a(property, text, "a whole number");
    }
    return value(std::to_string(number));
}

Canonical canonical_choice(const Property& property, std::string_view text) {
    const std::string word = lower_ascii(text);
    if (!choice_position(property.choices, word)) {
        return not_a(property, text, "one of " + std::string(property.choices));
    }
    return value(word);
}

// An array in PostgreSQL's output form, as {a,"b c",NULL}; nullopt: it is none, or has dimensions.
std::optional<std::vector<std::string>> read_array(std::string_view text) {
    std::vector<std::string> list;
    std::string element;
    bool quoted = false;  // inside quotation marks
    bool had_quotes = false;
    const auto finish = [&] {
        if (had_quotes || (!element.empty() && element != "NULL")) {
            list.push_back(element);
        }
        element.clear();
        had_quotes = false;
    };
    if (text.size() < 2 || text.front() != '{' || text.back() != '}') {
        return std::nullopt;
    }
    const std::string_view inner = text.substr(1, text.size() - 2);
    for (std::size_t i = 0; i < inner.size(); ++i) {
        const char c = inner[i];
        if (c == '\\' && i + 1 < inner.size()) {
            element += inner[++i];
        } else if (c == '"') {
            quoted = !quoted;
            had_quotes = true;
        } else if (!quoted && c == ',') {
            finish();
        } else if (!quoted && (c == '{' || c == '}')) {
            return std::nullopt;
        } else {
            element += c;
        }
    }
    finish();
    return quoted ? std::nullopt : std::optional(std::move(list));
}

std::optional<std::vector<std::string>> read_json_list(std::string_view text) {
    const json parsed = json::parse(text, nullptr, false);
    if (!parsed.is_array()) {
        return std::nullopt;
    }
    std::vector<std::string> list;
    for (const json& element : parsed) {
        if (!element.is_string()) {
            return std::nullopt;
        }
        list.push_back(element.get<std::string>());
    }
    return list;
}

Canonical canonical_list(const Property& property, std::string_view text) {
    if (auto words = text_problem(text)) {
        return problem(property, *words);
    }
    std::optional<std::vector<std::string>> list;
    if (text.starts_with('[')) {
        list = read_json_list(text);
    } else if (text.starts_with('{')) {
        list = read_array(text);
    } else {
        list = std::vector<std::string>{std::string(text)};
    }
    if (!list) {
        return not_a(property, text, "a list of texts (a JSON array or text[])");
    }
    for (std::string& element : *list) {
        if (auto words = text_problem(element)) {  // JSON can spell what it must not contain
            return problem(property, *words);
        }
        element = std::string(trimmed(element));
    }
    return value(write_text_list(std::move(*list)));
}

Canonical canonical_binary(const Property& property, std::string_view text) {
    const auto description = read_description(text);
    if (!description) {
        return not_a(property, text, "a description of bytes");
    }
    if (property.max_length > 0 && description->size > property.max_length) {
        return problem(property, "has " + std::to_string(description->size) + " bytes, and " +
                                     std::to_string(property.max_length) + " are the most");
    }
    if (description->kind == unknown_kind) {
        return problem(property, "is no JPEG, PNG, GIF or BMP");
    }
    if (description->digest.empty()) {
        return problem(property, "was not read");
    }
    return value(write_description(*description));
}

}  // namespace

Canonical canonical(const Property& property, std::string_view text) {
    const std::string_view word = trimmed(text);
    if (word.empty()) {
        return {};
    }
    switch (property.type) {
        case Type::text:
        case Type::email:
            return canonical_text(property, text);
        case Type::date:
            return canonical_date(property, word);
        case Type::timestamp:
            return canonical_timestamp(property, word);
        case Type::boolean:
            return canonical_boolean(property, word);
        case Type::integer:
            return canonical_integer(property, word);
        case Type::choice:
            return canonical_choice(property, word);
        case Type::text_list:
            return canonical_list(property, word);
        case Type::binary:
            return canonical_binary(property, word);
    }
    return {};
}

bool same_value(const Property& property, const Value& a, const Value& b) {
    const auto meaning = [&](const Value& v) { return v ? std::string_view(*v) : property.absent; };
    return meaning(a) == meaning(b);
}

bool only_describes(const Property& property, const Value& value) {
    return (travels_apart(property) && value) || is_unknown(value);
}

std::vector<std::string> read_text_list(std::string_view text) {
    return read_json_list(text).value_or(std::vector<std::string>{});
}

std::string write_text_list(std::vector<std::string> list) {
    std::erase(list, std::string{});
    std::sort(list.begin(), list.end());
    list.erase(std::unique(list.begin(), list.end()), list.end());
    return list.empty() ? std::string{} : json(list).dump();
}

std::optional<std::size_t> choice_position(std::string_view choices, std::string_view word) {
    for (std::size_t position = 0; !choices.empty(); ++position) {
        const std::string_view candidate = choices.substr(0, choices.find(','));
        if (candidate == word) {
            return position;
        }
        choices.remove_prefix(std::min(choices.size(), candidate.size() + 1));
    }
    return std::nullopt;
}

std::string_view choice_at(std::string_view choices, std::size_t position) {
    for (; position > 0; --position) {
        const std::size_t comma = choices.find(',');
        if (comma == std::string_view::npos) {
            return {};
        }
        choices.remove_prefix(comma + 1);
    }
    return choices.substr(0, choices.find(','));
}

}  // namespace crmsync::record
