// Child rows of which a record has several alike, before they are merged: the rows that both sides
// hold stand beside each other, whatever their positions.
//
// The order is the CRM's. A user who removes the first of two addresses has removed that row; the
// other moves up, in the CRM by itself and then in his mailbox. Who swaps two has changed nothing,
// and finds them as the CRM has them.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "record/merge.h"
#include "server/configuration/configuration.h"

namespace crmsync {

struct InOneOrder {
    record::Values crm;
    record::Values held;
    std::vector<std::size_t> child_rows;  // as in RowChange; empty: there are no child rows
    bool same = true;  // they stand as they stood: nothing but what the merge finds is to be done
};

// In the order of the shadow.
InOneOrder in_one_order(const LinkConfiguration& link, const record::Values& shadow,
                        const record::Values& crm, const record::Values& held);

// After the merge: of rows that there are several of, the shadow says what stands where in the
// item.
void keep_positions(const LinkConfiguration& link, const record::Values& held,
                    record::Values& shadow);

// Where a property of a child row is by now, of which nothing is known but what it held and at
// which place of the layout, on whichever side: the row may stand elsewhere in the CRM, and another
// in its place. None: no row holds that, or several do that differ in what else they hold. Where a
// function of the link's own writes the rows, which of them are alike is its own matter, and the
// place is the same or none.
std::optional<std::size_t> place_by_now(const LinkConfiguration& link, std::size_t place,
                                        const record::Value& value, const record::Values& crm);

}  // namespace crmsync
