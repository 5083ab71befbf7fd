// How statements of an import are planned, where the statistics of crmsync.item know nothing of the
// rows that the run itself has written.
#pragma once

namespace crmsync {

// What the planner is to do without.
enum class PlanStep {
    nested_loop,     // in joins of all staged entries with crmsync.item: it would never end
    sequential_scan  // where few rows are looked up
};

// In a transaction, until its end or end(). Not around statements of the link's owner, whose
// triggers are not ours to plan.
class PlannedWithout {
  public:
    explicit PlannedWithout(PlanStep step);
    PlannedWithout(const PlannedWithout&) = delete;
    PlannedWithout& operator=(const PlannedWithout&) = delete;

    // Not in a destructor: after an error the end of the transaction does the same.
    void end() const;

  private:
    PlanStep step_;
};

}  // namespace crmsync
