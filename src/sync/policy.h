// How a link behaves: the policies of the design, as configured.
#pragma once

#include "record/merge.h"
#include "record/record.h"

namespace crmsync::sync {

enum class OnCrmDelete { remove, keep };

// Of an item that its user deleted, which is noticed when it is to be written the next time. Then
// ignore and recreate are the same, so recreate is not offered before folders are read.
enum class OnTargetDelete { ignore, recreate, unlink };

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
