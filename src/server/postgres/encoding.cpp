#include "server/postgres/encoding.h"

#include <cstdint>

#include "server/postgres/boundary.h"

extern "C" {
#include "catalog/namespace.h"
#include "mb/pg_wchar.h"
}

namespace crmsync::pg {

namespace {

// Byte b without a meaning is the character U+F700 + b, of which there are those from 0x80.
constexpr std::uint32_t meaningless = 0xF700;

bool prepared = false;
bool differs = false;
FmgrInfo out_function;  // to UTF-8
FmgrInfo in_function;

bool is_ascii(const char* data, std::size_t size) {
    std::uint8_t bits = 0;
    for (std::size_t i = 0; i < size; ++i) {
        bits |= static_cast<std::uint8_t>(data[i]);
    }
    return bits < 0x80;
}

// Converts from the start for as long as it can; returns how many bytes those were.
std::size_t convert_some(FmgrInfo* function, int from, int to, const char* data, std::size_t size,
                         char* result) {
    return static_cast<std::size_t>(DatumGetInt32(FunctionCall6(
        function, Int32GetDatum(from), Int32GetDatum(to), CStringGetDatum(data),
        CStringGetDatum(result), Int32GetDatum(static_cast<int32>(size)), BoolGetDatum(true))));
}

// What is to be written for the character at the start of the rest that cannot be converted.
struct Replacement {
    std::size_t read;
    std::size_t written;
};

Replacement write_meaningless(const char* rest, std::size_t size, char* result) {
    const auto length = static_cast<std::size_t>(pg_encoding_mblen(GetDatabaseEncoding(), rest));
    Replacement done{length < size ? length : size, 0};
    for (std::size_t i = 0; i < done.read; ++i) {
        const auto byte = static_cast<std::uint8_t>(rest[i]);
        if (byte < 0x80) {
            result[done.written++] = rest[i];
        } else {
            unicode_to_utf8(meaningless + byte,
                            reinterpret_cast<unsigned char*>(result + done.written));
            done.written += 3;
        }
    }
    return done;
}

// The code point at the start of a text, and its length; of what is no UTF-8 the first byte.
std::uint32_t decode(const char* rest, std::size_t size, std::size_t* length) {
    const auto* bytes = reinterpret_cast<const unsigned char*>(rest);
    const auto wanted = static_cast<std::size_t>(pg_utf_mblen(bytes));
    if (wanted > size || !pg_utf8_islegal(bytes, static_cast<int>(wanted))) {
        *length = 1;
        return 0;
    }
    *length = wanted;
    return utf8_to_unicode(bytes);
}

bool is_meaningless(std::uint32_t character) {
    return character >= meaningless + 0x80 && character <= meaningless + 0xFF;
}

// bytes: whether bytes without a meaning are written as they were.
Replacement write_missing(const char* rest, std::size_t size, char* result, bool bytes) {
    Replacement done{0, 0};
    const std::uint32_t character = decode(rest, size, &done.read);
    if (character == 0) {
        result[done.written++] = '?';
    } else if (bytes && is_meaningless(character)) {
        result[done.written++] = static_cast<char>(character - meaningless);
    } else {
        // At most four times as long as the character was.
        done.written = static_cast<std::size_t>(
            snprintf(result, 12, "<U+%04X>", static_cast<unsigned>(character)));
    }
    return done;
}

// The result has room for four times the text and for what marks its end.
std::size_t write_utf8(const char* data, std::size_t size, char* result) {
    std::size_t written = 0;
    for (std::size_t at = 0; at < size;) {
        result[written] = '\0';
        at += convert_some(&out_function, GetDatabaseEncoding(), PG_UTF8, data + at, size - at,
                           result + written);
        written += strlen(result + written);
        if (at < size) {
            const Replacement done = write_meaningless(data + at, size - at, result + written);
            at += done.read;
            written += done.written;
        }
    }
    return written;
}

std::size_t write_from_utf8(const char* data, std::size_t size, char* result, bool bytes) {
    std::size_t written = 0;
    for (std::size_t at = 0; at < size;) {
        result[written] = '\0';
        at += convert_some(&in_function, PG_UTF8, GetDatabaseEncoding(), data + at, size - at,
                           result + written);
        written += strlen(result + written);
        if (at < size) {
            const Replacement done = write_missing(data + at, size - at, result + written, bytes);
            at += done.read;
            written += done.written;
        }
    }
    return written;
}

// Nobody may make up bytes, in a message for one, that are not what the encoding says.
std::size_t write_database(const char* data, std::size_t size, char* result) {
    const std::size_t written = write_from_utf8(data, size, result, true);
    const int valid =
        pg_encoding_verifymbstr(GetDatabaseEncoding(), result, static_cast<int>(written));
    return static_cast<std::size_t>(valid) == written ? written
                                                      : write_from_utf8(data, size, result, false);
}

using Write = std::size_t (*)(const char*, std::size_t, char*);

Text converted(const char* data, std::size_t size, Write write) {
    if (!differs || is_ascii(data, size)) {
        return {data, size};
    }
    auto* result = static_cast<char*>(MemoryContextAllocHuge(CurrentMemoryContext, size * 4 + 16));
    return {result, write(data, size, result)};
}

const char* converted(const char* text, Write write) {
    if (text == nullptr || !differs || is_ascii(text, strlen(text))) {
        return text;
    }
    const Text result = converted(text, strlen(text), write);
    const_cast<char*>(result.data)[result.size] = '\0';
    return result.data;
}

std::string character_name(std::uint32_t character) {
    char name[16];
    snprintf(name, sizeof name, "U+%04X", static_cast<unsigned>(character));
    return name;
}

}  // namespace

bool encoding_differs() noexcept {
    return differs;
}

void prepare_encoding() {
    if (prepared) {
        return;
    }
    const int encoding = GetDatabaseEncoding();
    if (encoding != PG_UTF8 && encoding != PG_SQL_ASCII) {
        const Oid out = FindDefaultConversionProc(encoding, PG_UTF8);
        const Oid in = FindDefaultConversionProc(PG_UTF8, encoding);
        if (OidIsValid(out) && OidIsValid(in)) {
            fmgr_info_cxt(out, &out_function, TopMemoryContext);
            fmgr_info_cxt(in, &in_function, TopMemoryContext);
            differs = true;
        }
    }
    prepared = true;
}

Text to_utf8(const char* data, std::size_t size) {
    return converted(data, size, write_utf8);
}

Text from_utf8(const char* data, std::size_t size) {
    return converted(data, size, write_database);
}

const char* to_utf8(const char* text) {
    return converted(text, write_utf8);
}

const char* from_utf8(const char* text) {
    return converted(text, write_database);
}

std::string in_database_encoding(std::string_view utf8) {
    if (!differs || is_ascii(utf8.data(), utf8.size())) {
        return std::string(utf8);
    }
    std::string result(utf8.size() * 4 + 16, '\0');
    result.resize(guard([&] { return write_database(utf8.data(), utf8.size(), result.data()); }));
    return result;
}

std::optional<std::string> encoding_problem(std::string_view utf8) {
    if (!differs || is_ascii(utf8.data(), utf8.size())) {
        return std::nullopt;
    }
    std::string scratch(utf8.size() * 4 + 16, '\0');
    const std::size_t good = guard([&] {
        return convert_some(&in_function, PG_UTF8, GetDatabaseEncoding(), utf8.data(), utf8.size(),
                            scratch.data());
    });
    if (good >= utf8.size()) {
        return std::nullopt;
    }
    std::size_t length = 0;
    const std::uint32_t character =
        guard([&] { return decode(utf8.data() + good, utf8.size() - good, &length); });
    const std::string encoding = GetDatabaseEncodingName();
    if (is_meaningless(character)) {
        char byte[8];
        snprintf(byte, sizeof byte, "0x%02X", static_cast<unsigned>(character - meaningless));
        return "the byte " + std::string(byte) + " is no character in the encoding " + encoding;
    }
    return "the encoding " + encoding + " of the database has no character " +
           character_name(character);
}

}  // namespace crmsync::pg
