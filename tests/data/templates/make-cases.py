# SPDX-License-Identifier: Apache-2.0
# Writes qwen3-cases.json and qwen3.5-more-cases.json: random chats rendered by Jinja2 3.1.6 from the
# published templates, with trim_blocks and lstrip_blocks and `tojson` as json.dumps without ASCII
# escapes. Also python-numbers.json: what json.loads, then str and json.dumps, make of numbers.
import json
import pathlib
import random

import jinja2

HERE = pathlib.Path(__file__).parent
random.seed(3)


class Raised(Exception):
    pass


def raise_exception(message):
    raise Raised(message)


def load(name):
    env = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    env.filters["tojson"] = lambda v: json.dumps(v, ensure_ascii=False)
    env.globals["raise_exception"] = raise_exception
    return env.from_string((HERE / f"{name}.jinja").read_text(encoding="utf-8"))


WORDS = ["Hi", "", " ", "\n", "\n\nx\n\n", "  padded  ", "na\u00efve \u2014 \u201cq\u201d", "\u3000wide\u3000", "\x1fodd\x1c",
         "a\tb", "<|im_end|>", "<think>", "</think>", "<think>\nwhy\n</think>\n\nso", "x</think>\n\ny</think>z",
         "<tool_response>\nfake\n</tool_response>", "<tool_response>", "{\"a\": 1}", "\U0001f41f", "line\nline", "e\u0301",
         "</think>", "\\n", "a<think>b<think>c</think>\n\nd", "<tool_call>", "\u0000\u0007\b\f", "\x7f\u2028"]
NUMBERS = [0, -1, 7, 12345678901234, 0.5, -0.0, 1e-5, 1.0, 1e16, 1e15, 123456.789, 1e20, 2.5e-10, 1 / 3, 2.0 ** -44,
           9007199254740993, 18446744073709551615, -9223372036854775808, 5e-324, 1.7976931348623157e308]


def text():
    return "".join(random.choice(WORDS) for _ in range(random.choice([1, 1, 1, 2, 3])))


def value(depth=0):
    kind = random.choice(["text", "text", "number", "bool", "null"] + ["list", "dict"] * (depth < 3))
    if kind == "text":
        return text()
    if kind == "number":
        return random.choice(NUMBERS)
    if kind == "bool":
        return random.random() < 0.5
    if kind == "list":
        return [value(depth + 1) for _ in range(random.randint(0, 3))]
    if kind == "dict":
        return {random.choice(["k", "caf\u00e9", "a b", "\"q\"", "z", ""]): value(depth + 1) for _ in range(random.randint(0, 3))}
    return None


def parts():
    choices = [{"type": "text", "text": text()}, {"text": text()}, {"type": "image"}, {"image": "x"}, {"image_url": {"url": "u"}},
               {"type": "image_url", "image_url": None}, {"type": "video"}, {"video": "v"}, {"type": "audio"}]
    return [random.choice(choices[: random.choice([2, 8, 8, 9])]) for _ in range(random.randint(0, 4))]


def content(strict):
    if strict or random.random() < 0.8:
        return text()
    return random.choice([parts(), parts(), parts(), None, 5, {"text": "x"}, True])


def call(strict):
    function = {"name": random.choice(["get_weather", "f", "n-1", "caf\u00e9"]),
                "arguments": {random.choice(["city", "days", "o p", "z"]): value() for _ in range(random.randint(0, 3))}}
    if strict and random.random() < 0.2:
        function["arguments"] = json.dumps(function["arguments"], ensure_ascii=False)
    if not strict and random.random() < 0.1:
        del function["arguments"]
    return function if random.random() < 0.2 else {"id": "c", "type": "function", "function": function}


def message(role, strict):
    m = {"role": role, "content": content(strict)}
    if role == "assistant":
        if random.random() < 0.4:
            m["reasoning_content"] = random.choice([text(), text(), text(), None])
        if random.random() < 0.4:
            m["tool_calls"] = [call(strict) for _ in range(random.randint(0, 3))]
        if not strict and random.random() < 0.1:
            del m["content"]
    return m


def chat(strict):
    roles = ["user", "user", "assistant", "assistant", "tool", "tool"] + ["system"] * (random.random() < 0.2)
    if not strict and random.random() < 0.1:
        roles.append("developer")
    messages = [message(random.choice(roles), strict) for _ in range(random.randint(1, 7))]
    if random.random() < 0.4:
        messages.insert(0, message("system", strict))
    if random.random() < 0.7:
        messages.insert(random.randint(0, len(messages)), message("user", strict))
        if messages[0]["role"] != "system" and messages[-1]["role"] == "system":
            messages.pop()
    if not strict and random.random() < 0.02:
        messages = []
    case = {"messages": messages, "add_generation_prompt": random.random() < 0.8}
    if random.random() < 0.5:
        case["enable_thinking"] = random.random() < 0.5
    if random.random() < 0.3:
        case["tools"] = [{"type": "function", "function": {"name": "f", "description": text(), "parameters": value()}}
                         for _ in range(random.randint(0, 3))]
    if not strict:
        case["preserve_thinking"] = random.random() < 0.5
        case["add_vision_id"] = random.random() < 0.5
    return case


def write(path, templates, n, strict):
    loaded = {name: load(name) for name in templates}
    cases = []
    while len(cases) < n:
        name = random.choice(templates)
        case = {"template": name, "input": chat(strict)}
        try:
            case["output"] = loaded[name].render(**case["input"])
        except Raised as e:
            case["error"] = str(e)
        except (TypeError, jinja2.UndefinedError):
            continue  # the engine's own error: we name the field instead
        cases.append(case)
    (HERE / path).write_text(json.dumps(cases, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")


write("qwen3-cases.json", ["qwen3"], 400, True)
write("qwen3.5-more-cases.json", ["qwen3.5", "qwen3.5-small", "qwen3.6"], 400, False)

numbers = ["-0", "-0.0", "1.50", "1e5", "1E+2", "1e16", "1e15", "9999999999999998.0", "123456789012345678.0", "1e400", "-1e400"]
numbers += [repr(n) for n in NUMBERS]
numbers += [repr(random.choice([1, -1]) * random.random() * 10.0 ** random.randint(-320, 300)) for _ in range(300)]
numbers += [repr(2.0**n) for n in range(-1074, 1024)]
rows = [[t, str(json.loads(t)), json.dumps(json.loads(t))] for t in numbers]
(HERE / "python-numbers.json").write_text(json.dumps(rows, indent=0) + "\n", encoding="utf-8")
