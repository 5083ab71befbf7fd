// Reads the photos that are to be sent next. They are large, so that only as many are in memory as
// are worth it, however many wait.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "server/configuration/configuration.h"
#include "sync/task.h"

namespace crmsync {

class ContentSupply {
  public:
    void add(std::vector<sync::WantedContent> wanted);

    // What is to be read now; never more than there is room for.
    std::vector<sync::WantedContent> take();

    // The contents of these, of one link, in the same order; null: the record has another one by
    // now. Requires a transaction.
    std::vector<record::Content> read(const LinkConfiguration& link,
                                      const std::vector<sync::WantedContent>& wanted);

  private:
    std::size_t held();

    std::deque<sync::WantedContent> wanted_;
    std::vector<std::weak_ptr<const std::string>> given_;  // for as long as somebody needs it
};

}  // namespace crmsync
