// Package scheduler is what a scheduler in Go needs of hive_registry, by cgo: of the library it knows what pkg-config says.
package scheduler

/*
#cgo pkg-config: hive_registry
#include <hive_registry.h>
#include <stdlib.h>

// As hive_score_t has it: cgo knows no const.
typedef const hive_candidate_t candidate_t;
bool scored(void *user, candidate_t *candidate, double *out_score);

// What identifies a Go function is a number, and no pointer.
static inline hive_policy_t scored_by(uintptr_t user) {
	hive_policy_t policy = {.kind = HIVE_POLICY_SCORE, .score = scored, .user = (void *)user};
	return policy;
}
*/
import "C"

import (
	"fmt"
	"runtime"
	"runtime/cgo"
	"unsafe"
)

// text copies, for the view ends with its handle.
func text(view C.hive_str_t) string {
	return C.GoStringN(view.ptr, C.int(view.len))
}

// argument gives a text as the two arguments that it is; they may point into Go's memory, as texts of structs may not.
func argument(text string) (*C.char, C.size_t) {
	bytes := []byte(text + "\x00")
	return (*C.char)(unsafe.Pointer(&bytes[0])), C.size_t(len(text))
}

// words frees the error.
func words(err *C.hive_error_t) string {
	defer C.hive_error_free(err)
	return text(C.hive_error_message(err))
}

// call tells whether there is an answer, or the error with its text. Errors are of a thread, which a goroutine may leave
// between two calls unless it is told to stay.
func call(function func() uint32) (bool, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	switch status := function(); status {
	case C.HIVE_OK, C.HIVE_NONE:
		return status == C.HIVE_OK, nil
	default:
		var err *C.hive_error_t
		C.hive_error_take(&err)
		return false, fmt.Errorf("%s: %s", text(C.hive_status_name(C.uint32_t(status))), words(err))
	}
}

type registry struct{ handle *C.hive_registry_t }

// newRegistry makes one whose clock stands still; it keeps the clock's time.
func newRegistry(unixMs int64) (it registry, err error) {
	var clock *C.hive_clock_t
	if _, err = call(func() uint32 { return uint32(C.hive_clock_new(C.int64_t(unixMs), &clock)) }); err != nil {
		return
	}
	defer C.hive_clock_free(clock)
	config := C.hive_config_t{size: C.sizeof_hive_config_t, clock: clock}
	_, err = call(func() uint32 { return uint32(C.hive_registry_new(&config, &it.handle)) })
	return
}

func (it registry) free() {
	C.hive_registry_free(it.handle)
}

// ingest applies a heartbeat, and tells whether the hive was not known before.
func (it registry) ingest(body string) (bool, error) {
	json, length := argument(body)
	var applied C.uint32_t
	_, err := call(func() uint32 { return uint32(C.hive_registry_ingest_json(it.handle, json, length, &applied)) })
	return applied == C.HIVE_APPLIED_REGISTERED, err
}

// clone gives a handle of its own to a goroutine that goes from thread to thread: errors are kept in it, too.
func (it registry) clone() (own registry, err error) {
	_, err = call(func() uint32 { return uint32(C.hive_registry_clone(it.handle, &own.handle)) })
	return
}

// refused gives the words of a refusal, "" if there was none. Between the two calls the goroutine may change its thread.
func (it registry) refused(body string) string {
	json, length := argument(body)
	if C.hive_registry_ingest_json(it.handle, json, length, nil) == C.HIVE_OK {
		return ""
	}
	runtime.Gosched()
	var err *C.hive_error_t
	if C.hive_registry_take_error(it.handle, &err) != C.HIVE_OK {
		return ""
	}
	return words(err)
}

type worker struct {
	id, model      string
	maxConcurrency uint32
}

// beat sends a heartbeat as a struct. A struct may not point into Go's memory, so that all of it is C's.
func (it registry) beat(hive, timestamp string, workers []worker) error {
	var kept []unsafe.Pointer
	defer func() {
		for _, pointer := range kept {
			C.free(pointer)
		}
	}()
	view := func(text string) C.hive_str_t {
		copied := C.CString(text)
		kept = append(kept, unsafe.Pointer(copied))
		return C.hive_str(copied)
	}
	array := C.calloc(C.size_t(len(workers)), C.sizeof_hive_worker_report_t)
	kept = append(kept, array)
	reports := unsafe.Slice((*C.hive_worker_report_t)(array), len(workers))
	for at, worker := range workers {
		reports[at].worker_id = view(worker.id)
		reports[at].model_id = view(worker.model)
		reports[at].max_concurrency = C.hive_opt_u32_t{some: true, value: C.uint32_t(worker.maxConcurrency)}
	}
	heartbeat := C.hive_heartbeat_t{
		hive_id: view(hive), timestamp: view(timestamp),
		workers: (*C.hive_worker_report_t)(array), workers_len: C.size_t(len(workers)),
	}
	id, length := argument(hive)
	_, err := call(func() uint32 {
		return uint32(C.hive_registry_update_hive_state(it.handle, id, length, &heartbeat, nil))
	})
	return err
}

// A reservation's worker is borrowed: what is told of it is copied.
type reservation struct {
	handle  *C.hive_reservation_t
	id, url string
}

// reserve gives nil where no place is free.
func (it registry) reserve(model string) (*reservation, error) {
	id, length := argument(model)
	var handle *C.hive_reservation_t
	found, err := call(func() uint32 {
		return uint32(C.hive_registry_reserve_worker_for_model(it.handle, id, length, &handle))
	})
	if !found {
		return nil, err
	}
	worker := C.hive_reservation_worker(handle)
	held := &reservation{handle: handle, id: text(C.hive_worker_id(worker))}
	var url C.hive_str_t
	if C.hive_worker_url(worker, &url) {
		held.url = text(url)
	}
	return held, nil
}

func (it *reservation) release() {
	C.hive_reservation_free(it.handle)
}

// pick chooses whom `score` gives the lowest score, and passes over whom it tells false of; it gives "" for nobody.
func (it registry) pick(model string, score func(worker string) (float64, bool)) (string, error) {
	user := cgo.NewHandle(score)
	defer user.Delete()
	policy := C.scored_by(C.uintptr_t(user))
	id, length := argument(model)
	var worker *C.hive_worker_t
	found, err := call(func() uint32 { return uint32(C.hive_registry_pick(it.handle, id, length, &policy, &worker)) })
	if !found {
		return "", err
	}
	defer C.hive_worker_free(worker)
	return text(C.hive_worker_id(worker)), nil
}

// A panic may not leave it: it would unwind through the library.
//
//export scored
func scored(user unsafe.Pointer, candidate *C.candidate_t, out *C.double) (chosen C.bool) {
	defer func() {
		if recover() != nil {
			chosen = false
		}
	}()
	score := cgo.Handle(uintptr(user)).Value().(func(string) (float64, bool))
	number, some := score(text(C.hive_worker_id(candidate.worker)))
	*out = C.double(number)
	return C.bool(some)
}

// subscribe sends the kinds of events until none has come for `timeoutMs`, from a goroutine: who waits keeps a thread.
func (it registry) subscribe(capacity int, timeoutMs uint64) (<-chan string, error) {
	var events *C.hive_events_t
	if _, err := call(func() uint32 {
		return uint32(C.hive_registry_subscribe(it.handle, C.size_t(capacity), &events))
	}); err != nil {
		return nil, err
	}
	kinds := make(chan string)
	go func() {
		defer close(kinds)
		defer C.hive_events_free(events)
		for {
			var event *C.hive_event_t
			switch status := uint32(C.hive_events_next(events, C.uint64_t(timeoutMs), &event, nil)); status {
			case C.HIVE_OK:
				kinds <- map[C.uint32_t]string{
					C.HIVE_EVENT_HIVE_REGISTERED: "hive registered",
					C.HIVE_EVENT_WORKER_ADDED:    "worker added",
				}[C.hive_event_kind(event)]
				C.hive_event_free(event)
			default:
				kinds <- text(C.hive_status_name(C.uint32_t(status)))
				return
			}
		}
	}()
	return kinds, nil
}
