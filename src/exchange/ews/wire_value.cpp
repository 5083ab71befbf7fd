// Dates and choices differ on the wire; everything else is its canonical text.
#include "exchange/ews/wire_value.h"

#include <chrono>

#include "exchange/ews/request.h"
#include "record/date.h"
#include "record/text.h"
#include "record/value.h"

namespace crmsync::exchange::ews {
namespace {

using record::Property;
using record::Type;
using record::Value;

// Local midnight as UTC (Outlook), 11:59Z (OWA) and 00:00Z all lead to the right day, for zones
// from -11 to +12.
Value read_date(std::string_view text) {
    const auto time = record::read_time(text);
    if (!time) {
        return {};
    }
    const auto instant = time->date_only ? time->local : time->utc();
    const auto day = std::chrono::floor<std::chrono::days>(instant + std::chrono::hours{12});
    // Outlook's "no date" may be stored in any zone, like a real day.
    const auto exact = std::chrono::floor<std::chrono::days>(instant);
    if (record::means_no_date(day) || record::means_no_date(exact)) {
        return {};
    }
    return record::date_text(day);
}

// How Exchange calls its own users among themselves (RoutingType EX): nobody can write to that.
bool is_directory_name(std::string_view text) {
    return text.find('@') == text.npos && record::lower_ascii(text.substr(0, 3)) == "/o=";
}

}  // namespace

std::string to_wire(const Property& property, const std::string& value) {
    if (property.type == Type::date) {
        return value + "T11:59:00Z";
    }
    if (property.type == Type::choice) {
        if (const auto position = record::choice_position(property.choices, value)) {
            return std::string(record::choice_at(property.ews.choices, *position));
        }
    }
    return sendable(value);
}

Value from_wire(const Property& property, std::string_view text) {
    const std::string_view word = record::trimmed(text);
    if (word.empty()) {
        return {};
    }
    if (property.type == Type::date) {
        return read_date(word);
    }
    if (property.type == Type::email && is_directory_name(word)) {
        return {};
    }
    if (property.type == Type::choice) {
        const auto position = record::choice_position(property.ews.choices, word);
        return position ? Value{std::string(record::choice_at(property.choices, *position))}
                        : Value{};
    }
    return record::canonical(property, record::cleaned(text)).value;
}

}  // namespace crmsync::exchange::ews
