// The markers of one transaction that are not in the change log yet: a set, so that a record is
// marked once however often it changes. Markers lie one after the other in an arena, an open hash
// table of their offsets finds equal ones. Memory is bounded: a full buffer refuses, and its owner
// appends what it holds to the log and empties it.
//
// Nothing here has a destructor: a PostgreSQL error leaves by longjmp. The smallest arena stays
// allocated from one transaction to the next.
#pragma once

#include "preload/compatibility.h"

namespace crmsync {

// value of column_name in a captured row. length -1: no value, everything of the capture changed.
struct Marker {
    uint32 hash;
    int32 capture;
    int32 length;

    bool everything() const { return length < 0; }
    const char* value() const { return reinterpret_cast<const char*>(this + 1); }
};

class MarkerBuffer {
  public:
    static constexpr int32 everything = -1;

    // Remembers a marker, unless an equal one is there. False: the buffer is full.
    // length: bytes of value, or `everything`.
    bool add(int32 capture, const char* value, int32 length);

    bool empty() const { return count_ == 0; }
    uint32 count() const { return count_; }

    // In the order they came: for (m = first(); m != nullptr; m = next(m)).
    const Marker* first() const;
    const Marker* next(const Marker* marker) const;

    // Forgets all markers and gives memory back.
    void clear();

  private:
    uint32* find(uint32 hash, int32 capture, const char* value, int32 length) const;
    bool make_room(Size bytes);
    void grow_table();

    char* arena_ = nullptr;
    Size arena_size_ = 0;
    Size used_ = 0;
    uint32* table_ = nullptr;  // offset in the arena + 1, 0: free
    uint32 table_size_ = 0;    // a power of two
    uint32 count_ = 0;
};

}  // namespace crmsync
