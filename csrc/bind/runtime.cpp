#include "bind/runtime.h"

#include <pybind11/stl.h>

#include "bind/door.h"
#include "core/isa.h"
#include "core/launch.h"
#include "core/parallel.h"

namespace mlext {
namespace {

// ---- the host: Python's lock and signals ----------------------------------------------------------------------------

void* release_lock() { return PyEval_SaveThread(); }
void acquire_lock(void* token) { PyEval_RestoreThread(static_cast<PyThreadState*>(token)); }
bool python_interrupted() {
  const PyGILState_STATE state = PyGILState_Ensure();
  const bool pending = PyErr_CheckSignals() != 0;
  PyGILState_Release(state);
  return pending;
}

// Runs a function that may throw our exceptions, for the pybind11 half of the module.
void register_errors() {
  py::register_local_exception_translator([](std::exception_ptr p) {
    if (!p) return;
    try {
      std::rethrow_exception(p);
    } catch (const py::builtin_exception&) {
      throw;
    } catch (const py::error_already_set&) {
      throw;
    } catch (...) {
      detail::set_python_error();
    }
  });
}

py::dict memory_stats() {
  const PoolStats s = default_pool().stats();
  py::dict out;
  out["in_use"] = s.in_use;
  out["peak"] = s.peak;
  out["cached"] = s.cached;
  out["allocations"] = s.allocations;
  out["system_allocations"] = s.system;
  return out;
}

py::list levels(bool available_only) {
  py::list out;
  for (int i = 0; i < kLevels; ++i) {
    if (!available_only || level_available(static_cast<Level>(i))) out.append(level_name(static_cast<Level>(i)));
  }
  return out;
}

py::list profile_events() {
  py::list out;
  for (const Event& e : end_profile()) {
    out.append(py::make_tuple(e.name, e.start, e.seconds, e.work.flops, e.work.bytes));
  }
  return out;
}

}  // namespace

void bind_runtime(py::module_& m) {
  register_errors();
  set_host_hooks({release_lock, acquire_lock, python_interrupted});

  m.def("get_num_threads", &num_threads);
  m.def("set_num_threads", &set_num_threads, py::arg("threads"));
  m.def("levels", [] { return levels(true); }, "ISA levels that this CPU can run, best last.");
  m.def("built_levels", [] { return levels(false); }, "ISA levels in this build, best last.");
  m.def("get_isa", [] { return level_name(active_level()); });
  m.def("set_isa", &set_active_level, py::arg("level"));
  m.def("memory_stats", &memory_stats);
  m.def("reset_peak_memory", [] { default_pool().reset_peak(); });
  m.def("empty_cache", [] { return default_pool().trim(); });
  m.def("begin_profile", &begin_profile);
  m.def("end_profile", &profile_events, "(name, start, seconds, flops, bytes) of every launch, in order.");
  m.def("set_nan_check", &set_nan_check, py::arg("on"));
  m.def("get_nan_check", &nan_check);
#if defined(__clang__)
  m.attr("compiler") = "clang " __clang_version__;
#else
  m.attr("compiler") = "gcc " __VERSION__;
#endif
}

}  // namespace mlext

// For threadpoolctl, which looks for these symbols in loaded libraries.
extern "C" {
__attribute__((visibility("default"))) int mlext_get_num_threads() { return mlext::num_threads(); }
__attribute__((visibility("default"))) void mlext_set_num_threads(int threads) {
  if (threads >= 1 && threads <= mlext::kMaxThreads) mlext::set_num_threads(threads);
}
}
