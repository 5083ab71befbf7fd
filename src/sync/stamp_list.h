// The stamped items of one folder, read page by page. Only a complete list says that an item is not
// there, so that it may be created.
//
// Pages are asked for by offset, and a user may delete items between two of them, which moves the
// rest forward. So every page begins with a few items of the page before: where none of them is met
// again, something may have been skipped, and the list is read anew. (A page of one item cannot do
// so; servers send hundreds.)
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "exchange/operation.h"

namespace crmsync::sync {

class StampList {
  public:
    // Read to the end, and nothing has made it doubtful since.
    bool complete() const { return complete_; }

    // Some of it is read, and not all.
    bool begun() const { return !complete_ && offset_ > 0; }

    // Something may be there that was not seen: read it again from the beginning.
    void doubt();

    // A stamp as long as this may be the beginning of a longer one.
    static bool may_be_cut(const std::string& listed);

    // Drops what was read of a list that is not complete.
    void restart();

    exchange::ListStamps next_page(const std::string& folder_id) const;

    enum class Page {
        taken,     // see complete()
        unwanted,  // of a list that was given up meanwhile
        moved,     // the folder changed while it was listed: restarted
        stuck      // the server does not say where the list goes on: restarted
    };
    // prefix: how the stamps that matter begin.
    Page take(const exchange::ListStamps& asked, const exchange::Answer& answer,
              const std::string& prefix);

    // The item with this stamp, of a complete list; it is not returned a second time.
    std::optional<exchange::ItemAnswer> claim(const std::string& stamp);

    // These items are not ours any more, or not for long, whatever was listed.
    void forget(const std::set<std::string>& ids);

    // A listed stamp was cut (see exchange::ItemAnswer::stamp) and may be this one.
    bool may_hold_cut(const std::string& stamp) const;

    // What nobody has claimed, with whole stamps.
    std::vector<exchange::ItemAnswer> take_unclaimed();

  private:
    bool complete_ = false;
    int offset_ = 0;                     // of the next page
    int furthest_ = 0;                   // where the server said that the list goes on
    std::vector<std::string> expected_;  // ids of which the next page should hold one
    struct Listed {
        exchange::ItemReference item;
        std::int64_t attempt = 0;
    };
    static exchange::ItemAnswer answer_of(std::string stamp, Listed&& listed);

    std::map<std::string, Listed> items_;  // by stamp
    std::vector<std::string> cut_;         // beginnings of stamps
};

}  // namespace crmsync::sync
