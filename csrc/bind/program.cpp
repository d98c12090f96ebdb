// Captured programs and the callable that replays them.
//
// CompiledCall(miss) is the callable behind mlext.compile. It keeps one Entry per input signature: when the arguments match
// one, inputs are copied into the entry's own buffers, the program is replayed and the outputs are copied out; otherwise
// miss(args) is called, which captures and adds an entry. All of a hit happens here: Python only sees one call.
#include <cstring>
#include <memory>
#include <mutex>
#include <vector>

#include "bind/door.h"
#include "bind/runtime.h"
#include "bind/tape.h"
#include "core/launch.h"
#include "kernels/elementwise/elementwise.h"

namespace mlext {
namespace {

// Bumped whenever something that a capture depends on without touching memory changes: train/eval, freezing, no_grad.
std::atomic<std::uint64_t> g_epoch{0};

// What one argument must look like for an entry to match.
struct Spec {
  enum Kind { ndarray, tensor, constant } kind;
  DType dtype;
  Dims shape;
  py::object object;  // constants: compared by identity, numbers and strings by type and value
  int input;          // index into Entry::inputs
};

struct Entry {
  std::vector<Spec> specs;
  std::shared_ptr<Program> program;
  std::vector<Array> inputs;
  std::vector<Array> outputs;
  // Gradients: what each leaf's .grad must be for the entry to match, and what a replay leaves there.
  std::vector<std::pair<py::object, py::object>> grads_before;
  std::vector<std::pair<py::object, py::object>> grads_after;
  py::object rebuild;  // None: the single output itself; else a callable over the list of outputs
  py::object check;    // called when the epoch changed: True if the entry still holds
  std::uint64_t epoch;
  std::mutex busy;
};

struct CompiledObject {
  PyObject_HEAD vectorcallfunc vectorcall;
  PyObject* miss;
  std::vector<std::unique_ptr<Entry>>* entries;
  bool as_numpy;  // outputs are ndarrays
};

bool same_constant(PyObject* a, PyObject* b) {
  if (a == b) return true;
  if (Py_TYPE(a) != Py_TYPE(b) || !(PyLong_Check(a) || PyFloat_Check(a) || PyUnicode_Check(a))) return false;
  return PyObject_RichCompareBool(a, b, Py_EQ) == 1;
}

bool matches(const Spec& spec, PyObject* arg) {
  if (spec.kind == Spec::constant) return same_constant(spec.object.ptr(), arg);
  if (spec.kind == Spec::tensor) {
    if (!is_array(arg) || reinterpret_cast<ArrayObject*>(arg)->requires_grad) return false;
    return array_of(arg).dtype == spec.dtype && array_of(arg).shape == spec.shape;
  }
  if (!is_ndarray(arg)) return false;
  const Array view = view_ndarray(arg, "compile", "argument", false);
  return view.dtype == spec.dtype && view.shape == spec.shape;
}

bool matches(Entry& entry, PyObject* const* args, Py_ssize_t count) {
  if (static_cast<Py_ssize_t>(entry.specs.size()) != count) return false;
  for (Py_ssize_t i = 0; i < count; ++i) {
    if (!matches(entry.specs[static_cast<std::size_t>(i)], args[i])) return false;
  }
  for (const auto& [leaf, grad] : entry.grads_before) {
    const PyObject* now = reinterpret_cast<ArrayObject*>(leaf.ptr())->grad;
    if ((now == nullptr ? Py_None : now) != grad.ptr()) return false;
  }
  const std::uint64_t now = g_epoch.load(std::memory_order_relaxed);
  if (entry.epoch == now) return true;
  if (!py::cast<bool>(entry.check())) return false;
  entry.epoch = now;
  return true;
}

void copy_in(const Array& from, const Array& to) {
  if (from.is_dense()) {
    std::memcpy(to.data, from.data, static_cast<std::size_t>(to.nbytes()));
  } else {
    cast_into(from, to);
  }
}

Array copy_out(const Array& from) {
  if (!from.is_dense()) return cast(from, from.dtype);
  Array out = Array::empty(from.shape, from.dtype);
  std::memcpy(out.data, from.data, static_cast<std::size_t>(out.nbytes()));
  return out;
}

PyObject* give_out(const Array& from, bool as_numpy) {
  return as_numpy ? to_ndarray(copy_out(from)) : new_tensor(copy_out(from));
}

PyObject* run_entry(Entry& entry, PyObject* const* args, bool as_numpy) {
  std::unique_lock guard(entry.busy, std::try_to_lock);
  if (!guard.owns_lock()) {
    py::gil_scoped_release release;
    guard.lock();
  }
  for (std::size_t i = 0; i < entry.specs.size(); ++i) {
    const Spec& spec = entry.specs[i];
    if (spec.kind == Spec::constant) continue;
    const Array& to = entry.inputs[static_cast<std::size_t>(spec.input)];
    copy_in(is_array(args[i]) ? array_of(args[i]) : view_ndarray(args[i], "compile", "argument", false), to);
  }
  entry.program->replay();
  for (const auto& [leaf, grad] : entry.grads_after) {
    auto* object = reinterpret_cast<ArrayObject*>(leaf.ptr());
    if (object->grad != grad.ptr()) Py_XSETREF(object->grad, Py_NewRef(grad.ptr()));
  }
  if (entry.rebuild.is_none()) return give_out(entry.outputs[0], as_numpy);
  py::list outputs;
  for (const Array& out : entry.outputs) outputs.append(py::reinterpret_steal<py::object>(give_out(out, as_numpy)));
  return entry.rebuild(outputs).release().ptr();
}

PyObject* compiled_call(PyObject* callable, PyObject* const* args, std::size_t flags, PyObject* names) {
  auto* self = reinterpret_cast<CompiledObject*>(callable);
  const Py_ssize_t count = PyVectorcall_NARGS(flags);
  try {
    // Called inside another capture: plain Python, so that the outer program records the work.
    const bool plain = names != nullptr || capturing() != nullptr;
    for (std::size_t i = 0; !plain && i < self->entries->size(); ++i) {
      Entry& entry = *(*self->entries)[i];
      if (matches(entry, args, count)) return run_entry(entry, args, self->as_numpy);
    }
    return PyObject_Vectorcall(self->miss, args, flags, names);
  } catch (...) {
    return detail::set_python_error();
  }
}

PyObject* compiled_new(PyTypeObject* type, PyObject* args, PyObject*) {
  PyObject* miss = nullptr;
  int as_numpy = 0;
  if (!PyArg_ParseTuple(args, "O|p:CompiledCall", &miss, &as_numpy)) return nullptr;
  auto* self = reinterpret_cast<CompiledObject*>(type->tp_alloc(type, 0));
  if (self == nullptr) return nullptr;
  self->vectorcall = compiled_call;
  self->miss = Py_NewRef(miss);
  self->as_numpy = as_numpy != 0;
  self->entries = new std::vector<std::unique_ptr<Entry>>;
  return reinterpret_cast<PyObject*>(self);
}

int compiled_traverse(PyObject* object, visitproc visit, void* arg) {
  auto* self = reinterpret_cast<CompiledObject*>(object);
  Py_VISIT(self->miss);
  Py_VISIT(Py_TYPE(object));
  for (auto& entry : *self->entries) {
    Py_VISIT(entry->rebuild.ptr());
    Py_VISIT(entry->check.ptr());
    for (Spec& spec : entry->specs) Py_VISIT(spec.object.ptr());
    for (const auto* grads : {&entry->grads_before, &entry->grads_after}) {
      for (const auto& [leaf, grad] : *grads) {
        Py_VISIT(leaf.ptr());
        Py_VISIT(grad.ptr());
      }
    }
  }
  return 0;
}

int compiled_clear(PyObject* object) {
  auto* self = reinterpret_cast<CompiledObject*>(object);
  Py_CLEAR(self->miss);
  if (self->entries != nullptr) self->entries->clear();
  return 0;
}

void compiled_dealloc(PyObject* object) {
  PyTypeObject* type = Py_TYPE(object);
  PyObject_GC_UnTrack(object);
  compiled_clear(object);
  delete reinterpret_cast<CompiledObject*>(object)->entries;
  type->tp_free(object);
  Py_DECREF(type);
}

PyMemberDef kCompiledMembers[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(CompiledObject, vectorcall), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};
PyType_Slot kCompiledSlots[] = {
    {Py_tp_new, reinterpret_cast<void*>(compiled_new)},
    {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
    {Py_tp_dealloc, reinterpret_cast<void*>(compiled_dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(compiled_traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(compiled_clear)},
    {Py_tp_members, kCompiledMembers},
    {Py_tp_doc, const_cast<char*>("CompiledCall(miss, as_numpy=False): replays what was captured, else calls miss.")},
    {0, nullptr},
};
PyType_Spec kCompiledSpec = {"mlext._C.CompiledCall", sizeof(CompiledObject), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL, kCompiledSlots};
PyTypeObject* g_compiled_type = nullptr;

CompiledObject* compiled_of(const py::object& object) {
  if (Py_TYPE(object.ptr()) != g_compiled_type) throw TypeError("expected a CompiledCall");
  return reinterpret_cast<CompiledObject*>(object.ptr());
}

// A Tensor with memory of `pool` (null: the default one) that holds a copy of `value`. No launch: a capture in progress does
// not see it.
py::object copied(Pool* pool, const py::object& value, const char* op) {
  const bool tensor = is_array(value.ptr());
  const Array from = tensor ? array_of(value.ptr()) : view_ndarray(value.ptr(), op, "value", false);
  struct Restore {
    ~Restore() { set_current_pool(capturing() != nullptr ? capturing()->pool() : nullptr); }
  } restore;
  set_current_pool(pool);
  Array to = Array::empty(from.shape, from.dtype);
  copy_in(from, to);
  return py::reinterpret_steal<py::object>(new_tensor(std::move(to)));
}

// specs: per argument the input Tensor made by program_input with "ndarray" or "tensor", or a constant.
void add_entry(const py::object& compiled, std::shared_ptr<Program> program, const py::list& specs,
               const py::list& outputs, const py::list& grads_before, const py::list& grads_after, py::object rebuild,
               py::object check) {
  auto entry = std::make_unique<Entry>();
  for (const py::handle item : specs) {
    const auto pair = py::cast<py::tuple>(item);
    const auto kind = py::cast<std::string>(pair[0]);
    const py::object value = pair[1];
    if (kind == "constant") {
      entry->specs.push_back({Spec::constant, DType::float32, {}, value, -1});
      continue;
    }
    const Array& input = array_of(value.ptr());
    entry->specs.push_back({kind == "ndarray" ? Spec::ndarray : Spec::tensor, input.dtype, input.shape, py::none(),
                            static_cast<int>(entry->inputs.size())});
    entry->inputs.push_back(input);
  }
  for (const py::handle out : outputs) entry->outputs.push_back(array_of(out.ptr()));
  for (const auto& [from, to] :
       {std::pair(&grads_before, &entry->grads_before), std::pair(&grads_after, &entry->grads_after)}) {
    for (const py::handle item : *from) {
      const auto pair = py::cast<py::tuple>(item);
      to->emplace_back(pair[0], pair[1]);
    }
  }
  entry->program = std::move(program);
  entry->rebuild = std::move(rebuild);
  entry->check = std::move(check);
  entry->epoch = g_epoch.load();
  compiled_of(compiled)->entries->push_back(std::move(entry));
}

py::list program_steps(const Program& program) {
  py::list out;
  for (const Step& step : program.steps()) out.append(py::make_tuple(step.name, step.work.flops, step.work.bytes));
  return out;
}

}  // namespace

void bump_epoch() { g_epoch.fetch_add(1, std::memory_order_relaxed); }

void bind_program(py::module_& m) {
  g_compiled_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&kCompiledSpec));
  if (g_compiled_type == nullptr) throw py::error_already_set();
  m.add_object("CompiledCall", py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(g_compiled_type)));
  py::class_<Program, std::shared_ptr<Program>>(m, "Program", "The launches of one captured call, in order.")
      .def(py::init<>())
      .def("begin", &begin_capture)
      .def("end", [](Program&) { end_capture(); })
      .def(
          "input", [](Program& p, const py::object& value) { return copied(p.pool(), value, "compile"); },
          py::arg("value"))
      .def("replay", &Program::replay)
      .def("steps", &program_steps, "(name, flops, bytes) of every launch.");
  m.def(
      "constant", [](const py::object& value) { return copied(nullptr, value, "constant"); }, py::arg("value"),
      "A Tensor like the ndarray that lives on after a capture in progress, whose replays may read it.");
  m.def("is_capturing", [] { return capturing() != nullptr; });
  m.def("refuse_read", [](const char* what) { refuse_read_while_capturing(what); }, py::arg("what"));
  m.def("bump_epoch", &bump_epoch, "To be called when a mode changes that captures depend on.");
  m.def("add_entry", &add_entry, py::arg("compiled"), py::arg("program"), py::arg("specs"), py::arg("outputs"),
        py::arg("grads_before"), py::arg("grads_after"), py::arg("rebuild"), py::arg("check"));
  m.def("entry_count", [](const py::object& compiled) { return compiled_of(compiled)->entries->size(); });
  m.def("clear_entries", [](const py::object& compiled) { compiled_of(compiled)->entries->clear(); });
}

}  // namespace mlext
