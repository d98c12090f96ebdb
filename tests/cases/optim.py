"""Optimizers: (name, arguments, torch's name, torch's arguments)."""

OPTIMIZERS = [
    ("SGD", {"lr": 0.1}, "SGD", {}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}, "SGD", {}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}, "SGD", {}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}, "SGD", {}),
    ("Adam", {"lr": 0.01}, "Adam", {}),
    ("Adam", {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-4, "weight_decay": 0.1}, "Adam", {}),
    ("Adam", {"lr": 0.01, "amsgrad": True, "betas": (0.5, 0.6)}, "Adam", {}),
    ("AdamW", {"lr": 0.01}, "AdamW", {}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.2, "amsgrad": True}, "AdamW", {}),
    ("RMSprop", {"lr": 0.01}, "RMSprop", {}),
    (
        "RMSprop",
        {"lr": 0.01, "momentum": 0.9, "centered": True, "weight_decay": 0.01},
        "RMSprop",
        {},
    ),
    ("RMSprop", {"lr": 0.01, "centered": True, "alpha": 0.9}, "RMSprop", {}),
    ("RMSprop", {"lr": 0.01, "momentum": 0.5}, "RMSprop", {}),
    ("Adagrad", {"lr": 0.1}, "Adagrad", {}),
    (
        "Adagrad",
        {"lr": 0.1, "lr_decay": 0.05, "weight_decay": 0.01, "initial_accumulator_value": 0.2},
        "Adagrad",
        {},
    ),
    ("Adadelta", {}, "Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.8, "weight_decay": 0.01}, "Adadelta", {}),
    ("Adamax", {"lr": 0.01}, "Adamax", {}),
    ("Adamax", {"lr": 0.01, "weight_decay": 0.1}, "Adamax", {}),
    ("Nadam", {"lr": 0.01}, "NAdam", {}),
    ("Nadam", {"lr": 0.01, "weight_decay": 0.1, "momentum_decay": 0.01}, "NAdam", {}),
    ("RAdam", {"lr": 0.01}, "RAdam", {}),
    ("RAdam", {"lr": 0.01, "weight_decay": 0.1}, "RAdam", {}),
    ("Lion", {"lr": 0.01, "weight_decay": 0.1}, None, {}),
]
IDS = [f"{name} {arguments}" for name, arguments, *_ in OPTIMIZERS]
