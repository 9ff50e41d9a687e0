#!/usr/bin/env python3
"""ChatAPI's environment variables and its `.env` file, each on the real binary."""
from chatapi_client import ChatAPI
from harness import MASTER_KEY, Node, equal, line, main, parley, refused, true
from words import refused_with


def shown(key, env=None, dotenv=None):
    """What `parley config print` says of `key` under these variables."""
    result = parley("config", "print", env=env, dotenv=dotenv)
    equal(result.returncode, 0, result.stderr)
    for text in result.stdout.splitlines():
        if text.startswith(f"{key} = "):
            return text.split(" = ", 1)[1].strip('"')
    raise AssertionError(f"{key} is not printed:\n{result.stdout}")


def is_wrong(env, *words):
    """The variables are refused before anything starts, in words that have these."""
    result = parley("serve", env={"MASTER_API_KEY": MASTER_KEY, "LISTEN_ADDR": "127.0.0.1:0", **env})
    equal(result.returncode, 2, result.stderr)
    for word in words:
        true(word in result.stderr, f"«{word}» is not in: {result.stderr}")


def socket_count(alice):
    """How many sockets Alice may hold."""
    room = alice.create_room("dm", ["alice", "bob"]).json["room_id"]
    sockets = []
    while True:
        one = alice.connect()
        try:
            one.send("send_message", room_id=room, content=f"number {len(sockets)}")
            one.wait_for("message", content=f"number {len(sockets)}")
        except Exception:  # refused: the send may find it closed already
            equal(one.wait_for_close().code, 1008)
            return len(sockets)
        sockets.append(one)


# ---- MASTER_API_KEY


@line("env-master-01")
def master_api_key_is_what_the_operator_sends(s):
    node = s.own_node(MASTER_API_KEY="another-key-of-an-operator")
    equal(ChatAPI(node.address, master_key="another-key-of-an-operator").create_tenant("acme").status, 201)
    refused(ChatAPI(node.address, master_key=MASTER_KEY).create_tenant("acme"), 401, "AUTHENTICATION_ERROR")


@line("env-master-02")
def without_master_api_key_it_does_not_start(s):
    result = parley("serve", env={"LISTEN_ADDR": "127.0.0.1:0"})
    equal(result.returncode, 2)
    true("master_api_key" in result.stderr, result.stderr)


# ---- LISTEN_ADDR


@line("env-listen-01")
def listen_addr_takes_host_and_port(s):
    node = s.own_node(LISTEN_ADDR="127.0.0.1:0")
    true(node.address.startswith("127.0.0.1:"), node.address)
    equal(ChatAPI(node.address).health().status, 200)


@line("env-listen-02")
def listen_addr_takes_a_port_alone(s):
    node = s.own_node(LISTEN_ADDR=":0")
    equal(node.said("listening")[0]["address"].split(":")[0], "0.0.0.0")
    equal(ChatAPI(node.address).health().status, 200)


@line("env-listen-03")
def listen_addr_is_port_8080_by_default(s):
    equal(shown("listen_addr"), ":8080")
    equal(shown("listen_addr", {"LISTEN_ADDR": ":9090"}), ":9090")


# ---- DATABASE_DSN, DATA_DIR, LOG_DIR, LOG_LEVEL


@line("env-dsn-01")
def database_dsn_takes_the_documented_form(s):
    node = s.own_node(DATABASE_DSN="file:chatapi.db?_journal_mode=WAL&_busy_timeout=5000")
    node.tenant()
    true((node.directory / "data/chatapi.db").exists(), "no chatapi.db in the data directory")
    true(node.said("_journal_mode") and node.said("_busy_timeout"), node.lines)


@line("env-dsn-02")
def database_dsn_takes_a_path(s):
    node = s.own_node(DATABASE_DSN="plain.db")
    true((node.directory / "data/plain.db").exists(), "no plain.db in the data directory")
    elsewhere = node.directory / "elsewhere.db"
    other = s.own_node(DATABASE_DSN=str(elsewhere))
    true(elsewhere.exists(), f"no {elsewhere}: {other.lines}")


@line("env-dsn-03")
def the_default_database_is_parley_db(s):
    equal(shown("database"), "parley.db")


@line("env-dsn-04")
def a_database_in_memory_or_read_only_is_refused(s):
    for dsn in (":memory:", "file::memory:", "file:chat.db?mode=memory", "file:chat.db?mode=ro"):
        is_wrong({"DATABASE_DSN": dsn}, "database")


@line("env-data-dir-01")
def data_dir_holds_the_data(s):
    node = s.own_node()
    equal(sorted(p.name for p in node.directory.iterdir()), ["data"])
    true((node.directory / "data/parley.db").exists(), "no database in DATA_DIR")


@line("env-data-dir-02")
def the_default_data_dir_is_in_the_working_directory(s):
    equal(shown("data_dir"), "parley-data")
    equal(shown("data_dir", {"DATA_DIR": "/var/chatapi"}), "/var/chatapi")


@line("env-log-dir-01")
def log_dir_is_accepted_with_a_warning(s):
    node = s.own_node(LOG_DIR="/var/log/chatapi")
    true(node.said("LOG_DIR") or node.said("log_dir"), node.lines)
    equal(sorted(p.name for p in node.directory.iterdir()), ["data"])


@line("env-log-level-01")
def log_level_takes_the_four_words(s):
    for level in ("debug", "info", "warn", "error"):
        equal(shown("log_level", {"LOG_LEVEL": level}), level)
    is_wrong({"LOG_LEVEL": "verbose"}, "log_level", "verbose", "debug, info, warn or error")


@line("env-log-level-02")
def log_level_is_info_by_default(s):
    equal(shown("log_level"), "info")


@line("env-log-level-03")
def log_level_leaves_out_what_is_below_it(s):
    loud = s.own_node(LOG_DIR="/var/log/chatapi", LOG_LEVEL="warn")
    quiet = s.own_node(LOG_DIR="/var/log/chatapi", LOG_LEVEL="error")
    true([one for one in loud.lines if one.get("level") == "warn"], loud.lines)
    equal([one for one in quiet.lines if one.get("level") in ("warn", "info", "debug")], [])


# ---- limits


@line("env-rate-01")
def default_rate_limit_is_100(s):
    equal(shown("default_rate_limit"), "100")


@line("env-rate-02")
def default_rate_limit_sets_a_tenants_rate(s):
    (alice,) = s.users("alice", DEFAULT_RATE_LIMIT="7")
    equal(alice.rooms().headers.get("x-ratelimit-limit"), "7")


@line("env-origins-01")
def ws_allowed_origins_is_a_list_with_commas(s):
    (alice,) = s.users("alice", WS_ALLOWED_ORIGINS=" https://a.example.com ,, https://b.example.com")
    for origin in ("https://a.example.com", "https://b.example.com"):
        alice.connect(origin=origin).wait_for("hello")
    refused_with(403, lambda: alice.connect(origin="https://c.example.com"))


@line("env-origins-02")
def ws_allowed_origins_is_empty_by_default(s):
    equal(shown("ws_allowed_origins"), "")
    equal(shown("ws_allowed_origins", {"WS_ALLOWED_ORIGINS": "*"}), "*")


@line("env-connections-01")
def max_connections_per_user_bounds_a_users_sockets(s):
    equal(socket_count(s.users("alice", MAX_CONNECTIONS_PER_USER="2")[0]), 2)


@line("env-connections-02")
def max_connections_per_user_is_5_by_default(s):
    equal(shown("max_connections_per_user"), "5")


@line("env-connections-03")
def ws_max_connections_per_user_says_the_same(s):
    equal(socket_count(s.users("alice", WS_MAX_CONNECTIONS_PER_USER="3")[0]), 3)
    both = {"MAX_CONNECTIONS_PER_USER": "4", "WS_MAX_CONNECTIONS_PER_USER": "4"}
    equal(shown("max_connections_per_user", both), "4")


@line("env-connections-04")
def two_different_bounds_of_a_users_sockets_are_refused(s):
    is_wrong({"MAX_CONNECTIONS_PER_USER": "4", "WS_MAX_CONNECTIONS_PER_USER": "5"},
             "MAX_CONNECTIONS_PER_USER", "WS_MAX_CONNECTIONS_PER_USER", "different")


# ---- background work, the end


@line("env-worker-01")
def worker_interval_is_30s_by_default(s):
    equal(shown("worker_interval"), "30s")
    equal(shown("worker_interval", {"WORKER_INTERVAL": "1m30s"}), "1m30s")


@line("env-worker-02")
def delivery_does_not_wait_for_worker_interval(s):
    alice, bob = s.users("alice", "bob", WORKER_INTERVAL="1h")
    room = alice.create_room("dm", ["alice", "bob"]).json["room_id"]
    alice.send(room, "missed")
    opened = bob.connect()
    opened.wait_for("message", content="missed")
    alice.send(room, "live")
    opened.wait_for("message", content="live")


@line("env-drain-01")
def shutdown_drain_timeout_is_10s_by_default(s):
    equal(shown("shutdown_drain_timeout"), "10s")


@line("env-drain-02")
def shutdown_drain_timeout_bounds_the_end(s):
    node = s.own_node(SHUTDOWN_DRAIN_TIMEOUT="2s")
    opened = node.tenant().as_user("alice").connect()
    opened.wait_for("hello")
    node.signal()
    equal(node.exit_status(4), 0)  # twice the bound: the machine may be busy
    equal(node.said("draining")[0]["shutdown_drain_timeout_ms"], 2000)


# ---- the values' forms, .env


@line("env-values-01")
def durations_have_gos_forms(s):
    for text, same in (("2s500ms", "2s500ms"), ("30s", "30s"), ("90s", "1m30s"), ("1m30s", "1m30s"), ("1.5h", "1h30m")):
        equal(shown("worker_interval", {"WORKER_INTERVAL": text}), same)
    equal(shown("shutdown_drain_timeout", {"SHUTDOWN_DRAIN_TIMEOUT": "300ms", "PARLEY_DRAIN_DELAY": "0s"}), "300ms")


@line("env-values-02")
def a_wrong_value_is_an_error_that_names_it(s):
    is_wrong({"WORKER_INTERVAL": "soon"}, "worker_interval", "soon")
    is_wrong({"SHUTDOWN_DRAIN_TIMEOUT": "10"}, "shutdown_drain_timeout", "10")
    is_wrong({"MAX_CONNECTIONS_PER_USER": "-1"}, "max_connections_per_user", "-1")
    is_wrong({"DEFAULT_RATE_LIMIT": "many"}, "default_rate_limit", "many")
    is_wrong({"LISTEN_ADDR": "8080"}, "listen_addr", "8080")
    is_wrong({"WS_ALLOWED_ORIGINS": "chat.example.com"}, "ws_allowed_origins", "chat.example.com")


@line("env-values-03")
def an_empty_variable_is_unset(s):
    equal(shown("worker_interval", {"WORKER_INTERVAL": ""}), "30s")
    equal(shown("max_connections_per_user", {"MAX_CONNECTIONS_PER_USER": ""}), "5")


@line("env-file-01")
def the_env_file_in_the_working_directory_is_read(s):
    node = Node({"MASTER_API_KEY": None, "LISTEN_ADDR": None}, dotenv='''
# ChatAPI's settings
export MASTER_API_KEY="from-the-env-file"  # quoted
LISTEN_ADDR=127.0.0.1:0
LOG_LEVEL='warn'
SOMETHING_ELSE=is not ours
''')
    s.own.append(node)
    equal(ChatAPI(node.address, master_key="from-the-env-file").create_tenant("acme").status, 201)


@line("env-file-02")
def the_real_environment_wins_over_the_env_file(s):
    equal(shown("worker_interval", dotenv="WORKER_INTERVAL=45s\n"), "45s")
    equal(shown("worker_interval", {"WORKER_INTERVAL": "15s"}, "WORKER_INTERVAL=45s\n"), "15s")


@line("env-file-03")
def an_env_file_has_export_quotes_and_comments(s):
    for text in ("export LOG_LEVEL=error", "LOG_LEVEL='error'", 'LOG_LEVEL="error" # loud', "# x\n\n LOG_LEVEL = error "):
        equal(shown("log_level", dotenv=text + "\n"), "error")


if __name__ == "__main__":
    main()
