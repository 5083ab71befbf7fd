// Validation against Microsoft's XML schema by libxml2, where the files are at hand.
#pragma once

#include <memory>
#include <optional>
#include <string>

namespace stand_in {

struct SchemaViolation {
    long line = 0;
    std::string text;
};

class Schema {
  public:
    /// Reads DIRECTORY/envelope.xsd. Throws std::runtime_error when that fails, or when the
    /// program was built without libxml2.
    explicit Schema(const std::string& directory);
    ~Schema();

    /// The first violation of a document, or nothing. Thread-safe.
    std::optional<SchemaViolation> validate(const std::string& document) const;

  private:
    struct Parsed;
    std::unique_ptr<Parsed> parsed_;
};

}  // namespace stand_in
