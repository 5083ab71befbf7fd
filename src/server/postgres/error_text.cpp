#include "server/postgres/error_text.h"

#include "record/text.h"

namespace crmsync {

std::string error_text(const pg::Error& error) {
    constexpr std::size_t longest = 1000;
    std::string text = error.message;
    if (!error.constraint.empty() && text.find(error.constraint) == std::string::npos) {
        text += " (constraint " + error.constraint + ")";
    }
    if (!error.detail.empty()) {
        text += ": " + error.detail;
    }
    return record::cleaned(text, longest);
}

}  // namespace crmsync
