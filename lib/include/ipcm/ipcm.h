#pragma once

// Everything. What to read first: launch.h (start a service), service.h (write one), boot.h (make it
// executable), client.h (talk on a bus without being a service).

#include "ipcm/basics.h"
#include "ipcm/boot.h"
#include "ipcm/bus.h"
#include "ipcm/bus_info.h"
#include "ipcm/client.h"
#include "ipcm/content.h"
#include "ipcm/error.h"
#include "ipcm/handle.h"
#include "ipcm/launch.h"
#include "ipcm/message.h"
#include "ipcm/redirect.h"
#include "ipcm/registry.h"
#include "ipcm/requester.h"
#include "ipcm/service.h"
#include "ipcm/spawn_options.h"
#include "ipcm/statistics.h"
