// The stored values of one item, packed into one string: slot, length, bytes, and so on.
//
// An item has some twenty values, mostly short. One allocation for all of them keeps a million
// items in bounded memory, and looking through twenty numbers is as fast as any index.
#pragma once

#include "property_table.hpp"

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace stand_in {

class PropertyBag {
  public:
    /// The value of a slot; the view is valid until the bag changes.
    std::optional<std::string_view> get(SlotId id) const {
        std::size_t at = find(id);
        if (at == kNone)
            return std::nullopt;
        return std::string_view(packed_).substr(at + kHead, length(at));
    }

    bool has(SlotId id) const { return find(id) != kNone; }

    /// `value` is not a view into this bag.
    void set(SlotId id, std::string_view value) {
        erase(id);
        const auto size = static_cast<std::uint32_t>(value.size());
        packed_.append(reinterpret_cast<const char*>(&id), sizeof id);
        packed_.append(reinterpret_cast<const char*>(&size), sizeof size);
        packed_ += value;
    }

    bool erase(SlotId id) {
        std::size_t at = find(id);
        if (at == kNone)
            return false;
        packed_.erase(at, kHead + length(at));
        return true;
    }

    /// Calls visit(slot, value) for every value.
    template <class Visit>
    void each(Visit&& visit) const {
        for (std::size_t at = 0; at < packed_.size(); at += kHead + length(at))
            visit(slot_at(at), std::string_view(packed_).substr(at + kHead, length(at)));
    }

    std::size_t bytes() const { return packed_.size(); }
    void shrink() { packed_.shrink_to_fit(); }

  private:
    static constexpr std::size_t kNone = std::string::npos;
    static constexpr std::size_t kHead = sizeof(SlotId) + sizeof(std::uint32_t);

    SlotId slot_at(std::size_t at) const {
        SlotId id;
        std::memcpy(&id, packed_.data() + at, sizeof id);
        return id;
    }

    std::uint32_t length(std::size_t at) const {
        std::uint32_t size;
        std::memcpy(&size, packed_.data() + at + sizeof(SlotId), sizeof size);
        return size;
    }

    std::size_t find(SlotId id) const {
        for (std::size_t at = 0; at < packed_.size(); at += kHead + length(at))
            if (slot_at(at) == id)
                return at;
        return kNone;
    }

    std::string packed_;
};

}  // namespace stand_in
