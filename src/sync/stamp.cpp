#include "sync/stamp.h"

namespace crmsync::sync {

namespace {

void append_encoded(std::string& to, std::string_view part) {
    for (const char c : part) {
        if (c == '%') {
            to += "%25";
        } else if (c == '/') {
            to += "%2F";
        } else {
            to += c;
        }
    }
}

}  // namespace

std::optional<std::string> decode_stamp_part(std::string_view part) {
    std::string text;
    for (std::size_t i = 0; i < part.size(); ++i) {
        if (part[i] == '/') {
            return std::nullopt;
        }
        if (part[i] != '%') {
            text += part[i];
        } else if (part.substr(i, 3) == "%25") {
            text += '%';
            i += 2;
        } else if (part.substr(i, 3) == "%2F") {
            text += '/';
            i += 2;
        } else {
            return std::nullopt;
        }
    }
    return text;
}

std::string make_stamp(std::string_view instance, std::string_view link, std::string_view key) {
    std::string stamp(instance);
    stamp += '/';
    append_encoded(stamp, link);
    stamp += '/';
    append_encoded(stamp, key);
    return stamp;
}

std::optional<std::string> key_of_stamp(std::string_view stamp, std::string_view instance,
                                        std::string_view link) {
    const std::string prefix = make_stamp(instance, link, {});
    if (!stamp.starts_with(prefix)) {
        return std::nullopt;
    }
    return decode_stamp_part(stamp.substr(prefix.size()));
}

}  // namespace crmsync::sync
