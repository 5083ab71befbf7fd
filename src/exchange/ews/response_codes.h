// What follows from each response code of EWS: one table for items and for whole requests.
#pragma once

#include <optional>
#include <string_view>

#include "exchange/failure.h"

namespace crmsync::exchange::ews {

struct CodeMeaning {
    Disposition disposition;
    bool uncertain;  // a write may have been carried out although the server reports the code
    bool damaged;    // see Failure
};

// nullopt: not in the table. Unknown codes are the item's failure, or a reason to back off when the
// whole request failed; never a success.
std::optional<CodeMeaning> meaning_of(std::string_view code);

}  // namespace crmsync::exchange::ews
