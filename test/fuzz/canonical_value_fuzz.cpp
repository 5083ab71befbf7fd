// Any bytes as a CRM value of any property: either a value that stays what it is and that XML can
// carry, or a problem in clean words; and what was written reads back the same. The first byte
// chooses the property. And any bytes as what stands in a stamp in the place of the key.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "exchange/ews/field_uri.h"
#include "exchange/ews/wire_value.h"
#include "exchange/stamp.h"
#include "record/text.h"
#include "record/value.h"
#include "sync/stamp.h"

namespace {

using namespace crmsync;
using record::Type;

void require(bool condition) {
    if (!condition) {
        std::abort();
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 1) {
        return 0;
    }
    const auto rows = record::properties();
    const record::Property& property = rows[data[0] % rows.size()];
    const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
    const record::Canonical result = record::canonical(property, text);
    require(!record::text_problem(result.problem));
    require(result.ok() || !result.value);
    if (result.value) {
        require(!result.value->empty() && !record::text_problem(*result.value));
        require(record::canonical(property, *result.value).value == result.value);
        const bool carried = exchange::ews::carried(property);
        if (carried && property.type != Type::text_list) {
            const std::string wire = exchange::ews::to_wire(property, *result.value);
            require(exchange::ews::from_wire(property, wire).value == result.value);
        }
    }
    const exchange::Stamp stamp{"instance", "link", std::string(text)};
    const auto read = exchange::read_stamp(exchange::stamp_text(stamp));
    require(read && read->key == stamp.key);
    const std::string prefix = exchange::stamp_text({stamp.instance, stamp.link, {}});
    const auto key = sync::key_of_stamp(prefix + stamp.key, prefix);
    require(!key || (record::is_storable(*key) && key->size() <= record::longest_kept_key &&
                     sync::stamp_of(prefix, *key) == prefix + stamp.key));
    return 0;
}
