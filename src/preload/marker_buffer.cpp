#include "preload/marker_buffer.h"

namespace crmsync {

namespace {

constexpr Size smallest_arena = 4096;
constexpr Size largest_arena = 4 * 1024 * 1024;
constexpr uint32 smallest_table = 64;

Size stored_size(int32 length) {
    return sizeof(Marker) + (length > 0 ? INTALIGN(length) : 0);
}

uint32 hash_of(int32 capture, const char* value, int32 length) {
    const uint32 seed = murmurhash32(static_cast<uint32>(capture));
    if (length < 0)
        return seed;
    return hash_combine(seed, hash_bytes(reinterpret_cast<const unsigned char*>(value), length));
}

}  // namespace

bool MarkerBuffer::add(int32 capture, const char* value, int32 length) {
    if (table_size_ == 0 || count_ >= table_size_ / 2)
        grow_table();

    const uint32 hash = hash_of(capture, value, length);
    uint32* place = find(hash, capture, value, length);
    if (*place != 0)
        return true;
    if (!make_room(stored_size(length)))
        return false;

    Marker* marker = reinterpret_cast<Marker*>(arena_ + used_);
    marker->hash = hash;
    marker->capture = capture;
    marker->length = length;
    if (length > 0)
        memcpy(marker + 1, value, length);
    *place = static_cast<uint32>(used_) + 1;
    used_ += stored_size(length);
    count_++;
    return true;
}

const Marker* MarkerBuffer::first() const {
    return used_ == 0 ? nullptr : reinterpret_cast<const Marker*>(arena_);
}

const Marker* MarkerBuffer::next(const Marker* marker) const {
    const char* following = reinterpret_cast<const char*>(marker) + stored_size(marker->length);
    return following == arena_ + used_ ? nullptr : reinterpret_cast<const Marker*>(following);
}

void MarkerBuffer::clear() {
    used_ = 0;
    count_ = 0;
    if (arena_size_ > smallest_arena) {
        pfree(arena_);
        arena_ = nullptr;
        arena_size_ = 0;
    }
    if (table_size_ > smallest_table) {
        pfree(table_);
        table_ = nullptr;
        table_size_ = 0;
    } else if (table_ != nullptr) {
        memset(table_, 0, table_size_ * sizeof(uint32));
    }
}

// The place of an equal marker, or the free one where it belongs.
uint32* MarkerBuffer::find(uint32 hash, int32 capture, const char* value, int32 length) const {
    for (uint32 i = hash & (table_size_ - 1);; i = (i + 1) & (table_size_ - 1)) {
        if (table_[i] == 0)
            return &table_[i];
        const Marker* marker = reinterpret_cast<const Marker*>(arena_ + table_[i] - 1);
        if (marker->hash == hash && marker->capture == capture && marker->length == length &&
            (length <= 0 || memcmp(marker->value(), value, length) == 0))
            return &table_[i];
    }
}

bool MarkerBuffer::make_room(Size bytes) {
    if (used_ + bytes <= arena_size_)
        return true;
    const Size size = arena_size_ == 0 ? smallest_arena : arena_size_ * 2;
    if (size > largest_arena)
        return false;
    arena_ = static_cast<char*>(arena_ == nullptr ? MemoryContextAlloc(TopMemoryContext, size)
                                                  : repalloc(arena_, size));
    arena_size_ = size;
    return true;
}

void MarkerBuffer::grow_table() {
    const uint32 size = table_size_ == 0 ? smallest_table : table_size_ * 2;
    uint32* table =
        static_cast<uint32*>(MemoryContextAllocZero(TopMemoryContext, size * sizeof(uint32)));
    for (const Marker* marker = first(); marker != nullptr; marker = next(marker)) {
        uint32 i = marker->hash & (size - 1);
        while (table[i] != 0)
            i = (i + 1) & (size - 1);
        table[i] = static_cast<uint32>(reinterpret_cast<const char*>(marker) - arena_) + 1;
    }
    if (table_ != nullptr)
        pfree(table_);
    table_ = table;
    table_size_ = size;
}

}  // namespace crmsync
