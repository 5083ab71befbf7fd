// From the text of a CRM value (PostgreSQL's output of the column) to the canonical text of a
// property, so that two values that mean the same are the same bytes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "record/record.h"

namespace crmsync::record {

// Either a value, or in `problem` why there can be none. Only what cannot be expressed is a
// problem; what Exchange may find too long or malformed is for Exchange to judge.
struct Canonical {
    Value value;
    std::string problem;  // empty: value counts. Words for the user, naming the property

    bool ok() const { return problem.empty(); }
};

// Text that is empty, or white space only, is no value. Accepted forms:
//   text, email   surrounding white space goes away (of notes and body: only at the end); CRLF
//                 becomes LF; characters that XML cannot carry are a problem
//   date          an ISO date or timestamp, whose day as written counts; 1601-01-01 and 4501-01-01
//                 are no value
//   timestamp     an ISO date or timestamp; without a zone it is UTC
//   boolean       what PostgreSQL accepts: true t yes y on 1, false f no n off 0
//   integer       decimal, 64 bits
//   choice        one of the property's choices, upper or lower case
//   text_list     a JSON array of strings, an array in PostgreSQL's output form, or one text
//   binary        a description (see content.h) of a JPEG, PNG, GIF or BMP of bearable size
Canonical canonical(const Property& property, std::string_view text);

// True when both mean the same to Exchange: no value is the same as Property::absent.
bool same_value(const Property& property, const Value& a, const Value& b);

// Whether this says what an item has and is not that itself, so that it cannot be written again.
bool only_describes(const Property& property, const Value& value);

// The strings of a canonical text_list; empty for text that is none.
std::vector<std::string> read_text_list(std::string_view json);
std::string write_text_list(std::vector<std::string> list);

// Places in comma-separated lists such as Property::choices: position of a word (nullopt: not
// there), and the word at a position (empty: none).
std::optional<std::size_t> choice_position(std::string_view choices, std::string_view word);
std::string_view choice_at(std::string_view choices, std::size_t position);

}  // namespace crmsync::record
