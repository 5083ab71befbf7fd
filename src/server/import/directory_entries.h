// Stages what the search finds. Of an entry that is as the last run left it, only that it is there:
// nothing else is wanted of it, and a directory of which little changes is read at little cost.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "server/import/directory_link.h"
#include "server/import/directory_row.h"
#include "server/import/directory_staging.h"
#include "server/import/unchanged_items.h"
#include "server/postgres/query.h"

namespace crmsync {

// What a search has shown, beside what is staged.
struct DirectorySurvey {
    bool compared = false;     // entries were looked up among the items; if not, all were staged
    std::int64_t changed = 0;  // entries staged with their values
    SeenItems seen;
};

class DirectoryEntries {
  public:
    // The link must outlive it.
    explicit DirectoryEntries(const DirectoryLink& link);

    // Opens a transaction when many are waiting, as finish() does. Throws RunStopped.
    void add(const DirectoryRow& row);
    void finish();

    // What was found out of the entries; after finish().
    const DirectorySurvey& survey() const noexcept { return survey_; }

  private:
    // An entry that waits for being staged: where it begins, and where what follows its presence.
    struct Waiting {
        std::size_t begin;
        std::size_t rest;
    };

    void look_up();
    std::vector<bool> find_unchanged();  // of those that wait
    void stage();

    const DirectoryLink& link_;
    std::string activity_;
    CopyRows rows_;
    std::vector<Waiting> waiting_;
    pg::TextArray keys_;
    pg::TextArray change_keys_;
    CopyRows absent_rest_;
    CopyRows staged_;
    DirectorySurvey survey_;
};

}  // namespace crmsync
