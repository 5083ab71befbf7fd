// The encoding of the database. C++ knows UTF-8 only: whatever text comes out of PostgreSQL is
// converted to it, and what goes in is converted back, in query.cpp, result_set.cpp, boundary.cpp,
// jsonb_fields.cpp and directory_staging.cpp. Databases in UTF-8 pay for none of it. In those in
// SQL_ASCII, where PostgreSQL knows no characters, texts are taken to be UTF-8.
//
// Out of the database nothing is lost: a byte that means no character there (0x81 in WIN1252)
// becomes one of a private range, and goes back as it was, so that keys stay what they are.
// Into it, a character that its encoding does not have is written as <U+1F600>. That is for
// messages: of values it is asked first whether they can be written at all.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace crmsync::pg {

// Whether texts are converted; known once a transaction or an SQL function has begun.
bool encoding_differs() noexcept;

// ---- plain, for use within a guard: what they allocate is PostgreSQL's

struct Text {
    const char* data;
    std::size_t size;
};

// Looks the conversions up, the first time. In a transaction.
void prepare_encoding();

Text to_utf8(const char* data, std::size_t size);
Text from_utf8(const char* data, std::size_t size);

// Of C strings; nullptr stays what it is.
const char* to_utf8(const char* text);
const char* from_utf8(const char* text);

// ---- for C++

// A text as the database has it.
std::string in_database_encoding(std::string_view utf8);

// Why a text that came out of the database cannot be sent, or one that is to go into it cannot be
// written there; nullopt: it can.
std::optional<std::string> encoding_problem(std::string_view utf8);

}  // namespace crmsync::pg
