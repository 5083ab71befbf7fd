// Dates and choices differ on the wire; everything else is its canonical text.
#include "exchange/ews/wire_value.h"

#include <chrono>

#include "exchange/ews/request.h"
#include "record/date.h"
#include "record/text.h"
#include "record/value.h"

namespace crmsync::exchange::ews {
namespace {

using record::Canonical;
using record::Property;
using record::Type;

// Local midnight as UTC (Outlook), 11:59Z (OWA) and 00:00Z all lead to the right day, for zones
// from -11 to +12; midnight with its zone does for any.
Canonical read_date(std::string_view text) {
    const auto time = record::read_time(text);
    if (!time) {
        return unreadable;
    }
    const bool is_midnight = time->local == std::chrono::floor<std::chrono::days>(time->local);
    const auto instant = is_midnight ? time->local : time->utc();
    const auto day = std::chrono::floor<std::chrono::days>(instant + std::chrono::hours{12});
    // Outlook's "no date" may be stored in any zone, like a real day.
    const auto exact = std::chrono::floor<std::chrono::days>(instant);
    if (record::means_no_date(day) || record::means_no_date(exact)) {
        return {};
    }
    return {.value = record::date_text(day), .problem = {}};
}

}  // namespace

const Canonical unreadable{.value = {}, .problem = "cannot be read"};

bool is_directory_name(std::string_view address) {
    const std::string_view word = record::trimmed(address);
    return word.find('@') == word.npos && record::lower_ascii(word.substr(0, 3)) == "/o=";
}

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

Canonical from_wire(const Property& property, std::string_view text) {
    const std::string_view word = record::trimmed(text);
    if (word.empty()) {
        return {};
    }
    if (property.type == Type::date) {
        return read_date(word);
    }
    if (property.type == Type::email && is_directory_name(word)) {
        return unreadable;
    }
    if (property.type == Type::choice) {
        const auto position = record::choice_position(property.ews.choices, word);
        return position
                   ? Canonical{.value = std::string(record::choice_at(property.choices, *position)),
                               .problem = {}}
                   : unreadable;
    }
    return record::canonical(property, record::cleaned(text));
}

}  // namespace crmsync::exchange::ews
