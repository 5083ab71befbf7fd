// How a link behaves: the policies of the design, as configured.
#pragma once

#include "record/merge.h"
#include "record/record.h"

namespace crmsync::sync {

enum class OnCrmDelete { remove, keep };

// Of an item that its user deleted: it is made again when the CRM changes the record, or in any
// case, or never, or the record is removed from the CRM, too.
enum class OnTargetDelete { ignore, recreate, unlink, remove };

enum class OnAudienceLoss { remove, unlink };

struct Policy {
    OnCrmDelete on_crm_delete = OnCrmDelete::remove;
    OnTargetDelete on_target_delete = OnTargetDelete::ignore;
    OnAudienceLoss on_audience_loss = OnAudienceLoss::remove;
};

// What a link's decisions go by.
struct Rules {
    record::Object object = record::Object::contact;
    Policy policy;
    bool outbound = true;  // the link writes to mailboxes
    record::Layout layout;
    record::Policies fields;  // parallel to layout
};

}  // namespace crmsync::sync
