#include "request_check.hpp"

#include "date_time.hpp"
#include "errors.hpp"
#include "property_table.hpp"
#include "request_sequences.hpp"
#include "soap.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>

namespace stand_in {

namespace {

struct Place {
    std::size_t line = 1, position = 1;
};

Place place_of(std::string_view source, std::size_t offset) {
    offset = std::min(offset, source.size());
    Place place;
    std::size_t start = 0;
    for (std::size_t i = 0; i < offset; ++i)
        if (source[i] == '\n') {
            ++place.line;
            start = i + 1;
        }
    place.position = offset - start + 1;
    return place;
}

[[noreturn]] void violate(std::string_view source, std::size_t offset, const std::string& what) {
    Place place = place_of(source, offset);
    MessageXml xml;
    xml.as_elements = true;
    xml.values = {{"LineNumber", std::to_string(place.line)},
                  {"LinePosition", std::to_string(place.position)},
                  {"Violation", what}};
    throw SoapFault{"ErrorSchemaValidation", "The request failed schema validation: " + what, xml};
}

/// Length of the UTF-8 sequence at `at` when it is a legal XML character, else 0.
std::size_t legal_character(std::string_view text, std::size_t at) {
    auto byte = [&](std::size_t i) {
        return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0u;
    };
    unsigned first = byte(0);
    if (first < 0x80)
        return first >= 0x20 || first == 9 || first == 10 || first == 13 ? 1 : 0;
    std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4)
        return 0;
    unsigned code = first & (0x7fu >> length);
    for (std::size_t i = 1; i < length; ++i) {
        if ((byte(i) & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (byte(i) & 0x3f);
    }
    constexpr unsigned smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    bool legal = code >= smallest[length] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff) &&
                 code != 0xfffe && code != 0xffff;
    return legal ? length : 0;
}

void check_reference(std::string_view source, std::size_t at) {
    std::size_t end = source.find(';', at);
    if (end == std::string_view::npos || end - at > 12)
        violate(source, at, "A character reference is not closed.");
    std::string_view digits = source.substr(at + 2, end - at - 2);
    int base = 10;
    if (!digits.empty() && digits.front() == 'x') {
        digits.remove_prefix(1);
        base = 16;
    }
    unsigned code = 0;
    auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), code, base);
    bool legal = error == std::errc{} && stop == digits.data() + digits.size() &&
                 (code >= 0x20 || code == 9 || code == 10 || code == 13) &&
                 (code < 0xd800 || code > 0xdfff) && code < 0x110000 && code != 0xfffe &&
                 code != 0xffff;
    if (!legal)
        violate(source, at,
                "The character reference " + std::string(source.substr(at, end - at + 1)) +
                    " is an invalid character.");
}

class Checker {
  public:
    explicit Checker(std::string_view source) : source_(source) {}

    void element(pugi::xml_node node) {
        std::string_view name = local_name(node);
        attributes(node, name);
        if (const ItemClass* item_class = class_by_element(name)) {
            item(node, *item_class);
            return;
        }
        if (const Sequence* sequence = sequence_of(name))
            order(node, *sequence);
        if (auto values = values_of(name); !values.empty() && !one_of(values, node.child_value()))
            fail(node, "The '" + std::string(name) + "' element is invalid - The value '" +
                           node.child_value() + "' is invalid according to its datatype");
        for (pugi::xml_node inner : node.children())
            if (inner.type() == pugi::node_element)
                element(inner);
    }

  private:
    [[noreturn]] void fail(pugi::xml_node node, const std::string& what) {
        auto offset = node.offset_debug();
        violate(source_, offset < 0 ? 0 : static_cast<std::size_t>(offset), what);
    }

    static bool one_of(std::string_view choices, std::string_view value) {
        while (true) {
            std::size_t end = choices.find('|');
            if (choices.substr(0, end) == value)
                return true;
            if (end == std::string_view::npos)
                return false;
            choices.remove_prefix(end + 1);
        }
    }

    [[noreturn]] void misplaced(pugi::xml_node parent, pugi::xml_node node) {
        fail(node, "The element '" + std::string(local_name(parent)) + "' in namespace '" +
                       std::string(namespace_of(parent)) + "' has invalid child element '" +
                       std::string(local_name(node)) + "' in namespace '" +
                       std::string(namespace_of(node)) + "'.");
    }

    void order(pugi::xml_node node, const Sequence& sequence) {
        std::size_t next = 0;
        for (pugi::xml_node inner : node.children()) {
            if (inner.type() != pugi::node_element)
                continue;
            std::string_view name = local_name(inner);
            std::size_t at = next;
            while (at < sequence.children.size() && !one_of(sequence.children[at].names, name))
                ++at;
            if (at == sequence.children.size())
                misplaced(node, inner);
            next = sequence.children[at].repeats ? at : at + 1;
        }
    }

    void attributes(pugi::xml_node node, std::string_view name) {
        for (const AttributeRule& rule : attribute_rules_of(name)) {
            pugi::xml_attribute found = node.attribute(std::string(rule.attribute).c_str());
            if (!found && rule.required)
                fail(node,
                     "The required attribute '" + std::string(rule.attribute) + "' is missing.");
            if (found && !rule.values.empty() && !one_of(rule.values, found.value()))
                fail(node, "The '" + std::string(rule.attribute) +
                               "' attribute is invalid - The "
                               "value '" +
                               found.value() +
                               "' is invalid according to its datatype - "
                               "The Enumeration constraint failed.");
        }
        if (name == "FieldURI")
            field_uri(node, known_field_uri(node.attribute("FieldURI").value()),
                      "UnindexedFieldURIType");
        else if (name == "IndexedFieldURI")
            field_uri(node,
                      slot_of(node.attribute("FieldURI").value(),
                              node.attribute("FieldIndex").value()) != kNoSlot,
                      "DictionaryURIType");
    }

    void field_uri(pugi::xml_node node, bool known, const std::string& type) {
        // Messages, distribution lists and the like are beyond this server, not beyond the schema.
        std::string_view uri = node.attribute("FieldURI").value();
        constexpr std::string_view ours[] = {"item:", "contacts:", "calendar:", "task:", "folder:"};
        bool checked = std::any_of(std::begin(ours), std::end(ours), [&](std::string_view prefix) {
            return uri.starts_with(prefix);
        });
        if (!known && (checked || uri.find(':') == std::string_view::npos) &&
            uri != "item:InternetMessageHeader")
            fail(node, "The 'FieldURI' attribute is invalid - The value '" + std::string(uri) +
                           "' is invalid according to its datatype '" + std::string(kTypes) + ":" +
                           type + "' - The Enumeration constraint failed.");
    }

    void item(pugi::xml_node node, const ItemClass& item_class) {
        std::optional<std::string_view> of_types;  // a prefix
        int last = -1;
        for (pugi::xml_node inner : node.children()) {
            if (inner.type() != pugi::node_element)
                continue;
            std::string_view name = local_name(inner);
            int at = item_class.position(name);
            std::string_view prefix =
                std::string_view(inner.name())
                    .substr(0, std::string_view(inner.name()).size() - name.size());
            // An element that declares nothing itself is where its neighbours of that prefix are.
            const bool may_declare = !inner.first_attribute().empty();
            if ((may_declare || of_types != prefix) && namespace_of(inner) != kTypes)
                misplaced(node, inner);
            if (!may_declare)
                of_types = prefix;
            if (at < 0 && item_class.element == "Message")
                continue;  // messages have elements that are not kept here
            if (at < 0 || at < last)
                misplaced(node, inner);
            const Row& row = item_class.rows[static_cast<std::size_t>(at)];
            if (at == last && row.kind != Kind::extended)
                misplaced(node, inner);
            last = at;
            value(inner, row);
        }
    }

    void value(pugi::xml_node node, const Row& row) {
        std::string_view text = node.child_value();
        bool valid = true;
        switch (row.kind) {
            case Kind::boolean:
                valid = text == "true" || text == "false" || text == "1" || text == "0";
                break;
            case Kind::integer: {
                long long parsed = 0;
                auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), parsed);
                valid = error == std::errc{} && end == text.data() + text.size();
                break;
            }
            case Kind::date_time:
                valid = parse_date_time(text).has_value();
                break;
            case Kind::choice:
                valid = row.choices.empty() || one_of(row.choices, text);
                break;
            case Kind::body:
                valid = one_of("Text|HTML", node.attribute("BodyType").value());
                break;
            case Kind::emails:
                entries(node, email_keys());
                break;
            case Kind::phones:
                entries(node, phone_keys());
                break;
            case Kind::ims:
                entries(node, im_keys());
                break;
            case Kind::addresses:
                entries(node, address_keys());
                for (pugi::xml_node entry : node.children())
                    order(entry, *sequence_of("PhysicalAddressEntry"));
                break;
            case Kind::extended:
                element(node);
                break;
            default:
                break;
        }
        if (!valid)
            fail(node, "The '" + std::string(row.element) + "' element is invalid - The value '" +
                           std::string(text) + "' is invalid according to its datatype");
    }

    void entries(pugi::xml_node node, const std::vector<std::string_view>& keys) {
        for (pugi::xml_node entry : node.children()) {
            if (local_name(entry) != "Entry")
                misplaced(node, entry);
            pugi::xml_attribute key = entry.attribute("Key");
            if (!key)
                fail(entry, "The required attribute 'Key' is missing.");
            if (std::find(keys.begin(), keys.end(), std::string_view(key.value())) == keys.end())
                fail(entry, "The 'Key' attribute is invalid - The value '" +
                                std::string(key.value()) +
                                "' is invalid according to its datatype - The Enumeration "
                                "constraint failed.");
        }
    }

    std::string_view source_;
};

// Nearly all characters are plain: eight are looked at together. Each byte of a word is compared by
// what its highest bit says after a subtraction that carries nothing over.
constexpr std::size_t kBlock = sizeof(std::uint64_t);
constexpr std::uint64_t kOnes = 0x0101010101010101, kHighest = 0x80 * kOnes;

bool is_plain(const char* block) {
    std::uint64_t word;
    std::memcpy(&word, block, kBlock);
    const std::uint64_t controls = (word | kHighest) - 0x20 * kOnes;
    const std::uint64_t ampersands = ((word ^ ('&' * kOnes)) | kHighest) - kOnes;
    return ((word | ~controls | ~ampersands) & kHighest) == 0;
}

}  // namespace

void check_characters(std::string_view source) {
    for (std::size_t at = 0; at < source.size();) {
        if (source.size() - at >= kBlock && is_plain(source.data() + at)) {
            at += kBlock;
            continue;
        }
        auto c = static_cast<unsigned char>(source[at]);
        if (c == '&' && source.substr(at).starts_with("&#"))
            check_reference(source, at);
        std::size_t length = legal_character(source, at);
        if (length == 0) {
            char hex[8];
            std::snprintf(hex, sizeof hex, "0x%02X", c);
            violate(source, at,
                    "hexadecimal value " + std::string(hex) + ", is an invalid character.");
        }
        at += length;
    }
}

void check_request(pugi::xml_node envelope, std::string_view source) {
    Checker checker(source);
    pugi::xml_node body = child(envelope, "Body");
    pugi::xml_node operation = first_element(body);
    if (operation && namespace_of(operation) != kMessages)
        violate(
            source, static_cast<std::size_t>(std::max<std::ptrdiff_t>(0, operation.offset_debug())),
            "The element 'Body' has invalid child element '" + std::string(local_name(operation)) +
                "' in namespace '" + std::string(namespace_of(operation)) + "'.");
    for (pugi::xml_node part : {child(envelope, "Header"), operation})
        if (part)
            checker.element(part);
}

}  // namespace stand_in
