"""What Schemathesis cannot know about authd: users who are logged in, and tokens, passwords and ids that are real.

Environment: SCHEMA_URL (the daemon), SCHEMA_SEED, SCHEMA_TALLY (a file that gets the number of calls by status).
"""

import atexit
import json
import os
import random
import uuid
from collections import Counter

import requests
import schemathesis

URL = os.environ["SCHEMA_URL"]
PASSWORD = "plum-orbit-velvet-93"
POOL_SIZE = 4

chance = random.Random(int(os.environ["SCHEMA_SEED"]))
tally = Counter()


class User:
    """A registered user with a session, as their app sees it."""

    def __init__(self):
        self.email = f"{uuid.UUID(int=chance.getrandbits(128))}@example.org"
        body = {"email": self.email, "password": PASSWORD}
        answer = requests.post(f"{URL}/api/auth/register", json=body, timeout=30)
        answer.raise_for_status()
        self.take(answer.json())

    def take(self, tokens):
        self.access, self.refresh, self.session = (tokens[k] for k in ("access_token", "refresh_token", "session_id"))


class Pool:
    """Users to call as. One whose session may have ended makes room for another."""

    def __init__(self):
        self.users = []

    def any(self):
        while len(self.users) < POOL_SIZE:
            self.users.append(User())
        return chance.choice(self.users)

    def holder_of(self, call):
        """The user whose token or name a call carried."""
        sent = f"{call.url} {call.headers.get('Authorization')} {call.body}"
        return next((u for u in self.users if any(s in sent for s in (u.access, u.refresh, u.email, u.session))), None)


pool = Pool()


@schemathesis.auth(refresh_interval=None)
class Bearer:
    """Calls as one of the users."""

    def get(self, case, context):
        return pool.any().access

    def set(self, case, access, context):
        case.headers["Authorization"] = f"Bearer {access}"


def real(user):
    """Members and parameters that only a user has."""
    return {
        "email": user.email,
        "password": PASSWORD,
        "current_password": PASSWORD,
        "new_password": PASSWORD,
        "refresh_token": user.refresh,
    }


@schemathesis.hook
def before_call(context, case, kwargs):
    """Every other call gets what random text never is: a token that was issued, a password that is right."""
    if chance.random() < 0.5:
        return
    user = pool.any()
    if isinstance(case.body, dict) and case.operation.path != "/api/auth/register":
        case.body.update({k: v for k, v in real(user).items() if isinstance(case.body.get(k), str)})
    if isinstance(case.path_parameters, dict) and "id" in case.path_parameters:
        case.path_parameters["id"] = user.session


@schemathesis.hook
def after_call(context, case, response):
    """Counts the call, and learns from it what became of the user who made it."""
    tally[f"{case.operation.label} {response.status_code}"] += 1
    call = response.request
    user = pool.holder_of(call)
    if user is None or case.method.upper() == "GET":
        return
    if response.status_code == 200 and case.operation.path == "/api/auth/refresh":
        user.take(json.loads(response.content))
    elif response.status_code in (200, 204, 401, 429):
        pool.users.remove(user)


@atexit.register
def report():
    with open(os.environ["SCHEMA_TALLY"], "w", encoding="utf-8") as file:
        json.dump(tally, file)
