#pragma once

// All public headers. Read these first: launch.h (start a service), service.h (write a service), boot.h
// (make a boot binary), client.h (exchange messages without a service).

#include "ipcm/basics.h"
#include "ipcm/boot.h"
#include "ipcm/boot_binary.h"
#include "ipcm/bus.h"
#include "ipcm/bus_info.h"
#include "ipcm/buses.h"
#include "ipcm/client.h"
#include "ipcm/content.h"
#include "ipcm/error.h"
#include "ipcm/handle.h"
#include "ipcm/inspection.h"
#include "ipcm/launch.h"
#include "ipcm/message.h"
#include "ipcm/obituary.h"
#include "ipcm/peer_events.h"
#include "ipcm/peer_info.h"
#include "ipcm/redirect.h"
#include "ipcm/registry.h"
#include "ipcm/requester.h"
#include "ipcm/service.h"
#include "ipcm/service_log.h"
#include "ipcm/spawn_options.h"
#include "ipcm/statistics.h"
#include "ipcm/stop.h"
