// The one way to go on after an error within a transaction.
#pragma once

#include <optional>
#include <utility>

#include "server/postgres/boundary.h"

extern "C" {
#include "utils/resowner.h"
}

namespace crmsync::pg {

class Subtransaction {
  public:
    Subtransaction();
    Subtransaction(const Subtransaction&) = delete;
    Subtransaction& operator=(const Subtransaction&) = delete;
    ~Subtransaction();
    void release();

  private:
    MemoryContext memory_;
    ResourceOwner owner_;
    bool open_ = false;
};

// Runs body in a subtransaction. Returns the error that rolled it back, or nullopt.
template <class F>
std::optional<Error> subtransaction(F&& body) {
    Subtransaction inner;
    try {
        body();
        inner.release();
        return std::nullopt;
    } catch (const Error& error) {
        return error;
    }
}

}  // namespace crmsync::pg
