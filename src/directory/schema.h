// What a server's schema (RFC 4512, 4.1) says of classes of entries. Those of the standard are not
// the same everywhere: 389 Directory Server lets a groupOfNames be empty.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "directory/connection.h"
#include "directory/server_kind.h"

namespace crmsync::directory {

class Schema {
  public:
    // Throws Error. One that is not shown to us defines nothing.
    Schema(Connection& connection, const ServerKind& kind);

    // definitions: as the attribute objectClasses has them.
    explicit Schema(std::vector<std::string> definitions) : definitions_(std::move(definitions)) {}

    // Whether every entry of the class has this attribute; nullopt: the class is not defined.
    std::optional<bool> demands(std::string_view object_class, std::string_view attribute) const;

  private:
    std::vector<std::string> definitions_;
};

}  // namespace crmsync::directory
