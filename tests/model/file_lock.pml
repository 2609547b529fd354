/* file_lock.pml - the protocol of FileLock with its queue, for spin. Labels are the step names of
 * docs/file-lock-protocol.md, which also says what is checked and what is left out. check_model.sh builds and judges it.
 *
 * Every label is one system call, or one question to the kernel about a process. What stands in one atomic { } happens
 * without interruption; before every one of them, and in every sleep, the process may be killed (MAY_DIE).
 *
 *   inode      of a FIFO, > 0. Who has a write end and who has the kernel lock follows from the descriptors.
 *   directory  > 0; holds at most one entry: kind (o = owned, f = released in place), name, inode.
 *   name       contender + 3 * n. A fresh n is one that nobody remembers: here, numbers come back when nothing refers to
 *              them, which on disk holds for inode numbers, and is harsher than the real names, which never come back.
 *
 * Settings (-D):
 *   N                     contenders, 2 or 3            CRASHES, DEADLINES    how many of them happen, at most
 *   ROUNDS0 ROUNDS1 ..    calls made by each            TRYERS                the first TRYERS contenders may also try_lock
 *   NS          0: all can judge each other; 1: contender 0 lives in another PID namespace; 2: nobody can judge anybody
 *   LOSSES      times that a process closes all its descriptors, as owner or idle, and goes on (closefrom)
 *   REFUSALS    renames refused at release (sticky directory, full disk)
 *   UNFAIR      no queue                                STRANGER              one plain mkdir locker takes part
 *   SEED_...    a seeded error; the table is in the document
 */
#ifndef N
#define N 3
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef DEADLINES
#define DEADLINES 0
#endif
#ifndef LOSSES
#define LOSSES 0
#endif
#ifndef REFUSALS
#define REFUSALS 0
#endif
#ifndef TRYERS
#define TRYERS 0
#endif
#ifndef NS
#define NS 0
#endif
#ifndef ROUNDS0
#define ROUNDS0 1
#endif
#ifndef ROUNDS1
#define ROUNDS1 1
#endif
#ifndef ROUNDS2
#define ROUNDS2 1
#endif
#define ROUNDS (p == 0 -> ROUNDS0 : (p == 1 -> ROUNDS1 : ROUNDS2))

#define p _pid
#define NONE 0
#define O 1
#define F 2
#define DIRECTORIES 8          /* 1 .. 7; the last one is the stranger's */
#define STRANGERS_DIRECTORY 7
#define INODES 8               /* 1 .. 7 */
#define NAMES 21               /* 0 .. 20 */
#define TICKETS 5              /* ticket inodes of one contender: 1 .. 4 */

/* ---- disk ---- */
byte L;                        /* the directory at the lock path */
byte home[3];                  /* the directory at each contender's private path */
byte swept[3];                 /* a dead one's private directory, renamed by a sweeper to a name of its own */
byte kind[DIRECTORIES];        /* the one entry of each directory */
byte name[DIRECTORIES];
byte inode[DIRECTORIES];
bool queue;                    /* the queue directory exists */
byte number[3];                /* ticket of each contender in the queue, 0: none */
byte ticket[3];                /* its inode */

/* ---- descriptors ---- */
byte own[3];   bool own_locked[3];   /* the proof: own o-file, open for writing, with its kernel lock */
bool blind[3];                       /* it is open for reading too: it cannot tell whether others read */
byte try[3];   bool try_locked[3];   /* another's o-file, read-write, to try its kernel lock */
byte look[3];  bool late[3];         /* another's o-file, read-only, to wait; late: no writer since it was opened */
byte at[3];                          /* the opened lock directory */
byte write_end[3];                   /* own ticket */
bool queue_open[3];                  /* the opened queue directory is the present one */
bool alive[3];                       /* what a pidfd says: false once the process is a zombie, or gone */

/* ---- remembered names ---- */
byte seen_name[3]; byte seen_kind[3];                                           /* the entry found in `at` */
byte ahead[3]; byte ahead_number[3]; byte ahead_ticket[3]; bool ahead_late[3];  /* the ticket ahead: contender + 1 */
byte listed[9];                                                                 /* try_lock: number * 8 + ticket */

/* ---- ghosts: nobody acts on them ---- */
bool prepared;
bool killed[3];                /* executes nothing any more; its descriptors close; then it is seen dead */
bool inside[3];                /* owner: from the rename that made it one to the rename that ended it */
bool stranger_inside;
bool waiting[3];               /* its ticket is visible, and it has neither acquired nor given up */
byte earlier[3];               /* bits: who was waiting when this one's doorway began */
bool died_holding;             /* the last owner was killed */
bool lost[3];                  /* it believes its proof open, but has closed it */
bool orphaned;                 /* killed between the two steps of R2c: an empty L that nobody can tell from a stranger's */
byte crashes, deadlines, losses, refusals, finished;

/* ---- what must hold; named, so that pan's message tells which one did not ---- */
bool F1_exclusion = true;
bool F2_complete = true;
bool F4_no_aba = true;
bool F5_order = true;
bool F6_asleep = true;
bool F7_news = true;
bool F8_tidy = true;
bool F10_strangers = true;
bool model_too_small = false;

inline check(flag, condition) { flag = (condition); assert(flag) }
inline fits(condition) { model_too_small = !(condition); assert(!model_too_small) }

#define writes(a, i) (own[a] == i || try[a] == i)
#define end_of_file(i) (!writes(0, i) && !writes(1, i) && !writes(2, i))
#define locks(a, i) ((own[a] == i && own_locked[a]) || (try[a] == i && try_locked[a]))
#define unlocked(i) (!locks(0, i) && !locks(1, i) && !locks(2, i))
#define reads(a, i) (look[a] == i || try[a] == i || (own[a] == i && blind[a]))
#define read_by_any(i) (reads(0, i) || reads(1, i) || reads(2, i))
#define owner_of(n) ((n) % 3)
#define has_entry(d) (kind[d] == seen_kind[p] && name[d] == seen_name[p] && kind[d] != NONE)
#define has_ticket(q) (number[q] == ahead_number[p] && ticket[q] == ahead_ticket[p] && number[q] != 0)
#define ahead_of_me (ahead[p] - 1)
#if NS == 0
#define judged(a, b) true
#elif NS == 1
#define judged(a, b) ((a == 0) == (b == 0))
#else
#define judged(a, b) (a == b)
#endif
#define known_alive(q) (judged(p, q) && alive[q])
#define known_dead(q) (judged(p, q) && !alive[q])
#define MAY_DIE crashes < CRASHES -> goto die
#define MAY_EXPIRE !tries && deadlines < DEADLINES -> deadlines++

/* Whoever opens for writing lets every reader of that inode notice the next hang-up. */
inline writer_opens(i) {
  if :: look[0] == i -> late[0] = false :: else fi;
  if :: look[1] == i -> late[1] = false :: else fi;
  if :: look[2] == i -> late[2] = false :: else fi
}

#define has(d, i) (kind[d] != NONE && inode[d] == i)
#define linked(i) (has(1, i) || has(2, i) || has(3, i) || has(4, i) || has(5, i) || has(6, i))
inline fresh_inode(i) {
  i = 1;
  do
  :: i < INODES && (!end_of_file(i) || read_by_any(i) || linked(i)) -> i++
  :: else -> break
  od;
  fits(i < INODES)
}
#define called(d, n) (kind[d] != NONE && name[d] == n)
#define on_disk(n) (called(1, n) || called(2, n) || called(3, n) || called(4, n) || called(5, n) || called(6, n))
#define saw(a, n) (seen_kind[a] != NONE && seen_name[a] == n)
inline fresh_name(n) {
  n = p;
  do
  :: n < NAMES && (on_disk(n) || saw(0, n) || saw(1, n) || saw(2, n)) -> n = n + 3
  :: else -> break
  od;
  fits(n < NAMES)
}
#define refers(a, d) (home[a] == d || at[a] == d || swept[a] == d)
inline fresh_directory(d) {
  d = 1;
  do
  :: d < STRANGERS_DIRECTORY && (L == d || refers(0, d) || refers(1, d) || refers(2, d)) -> d++
  :: else -> break
  od;
  fits(d < STRANGERS_DIRECTORY)
}
#define knows_ticket(a, g) ((ahead[a] == p + 1 && ahead_ticket[a] == g) || listed[a * 3 + p] % 8 == g)
inline fresh_ticket(g) {
  g = 1;
  do
  :: g < TICKETS && (knows_ticket(0, g) || knows_ticket(1, g) || knows_ticket(2, g) || (number[p] && ticket[p] == g)) -> g++
  :: else -> break
  od;
  fits(g < TICKETS)
}

inline stop_waiting() {
  waiting[p] = false;
  earlier[0] = earlier[0] & ~(1 << p);
  earlier[1] = earlier[1] & ~(1 << p);
  earlier[2] = earlier[2] & ~(1 << p)
}
inline acquired(news) {
  check(F1_exclusion, !inside[0] && !inside[1] && !inside[2] && !stranger_inside);
  check(F5_order, earlier[p] == 0);
  check(F7_news, (news) == died_holding);
  died_holding = false;
  inside[p] = true;
  stop_waiting()
}
inline close_own() { own[p] = 0; own_locked[p] = false; blind[p] = false; lost[p] = false }
inline close_try() { try[p] = 0; try_locked[p] = false }
inline forget_ahead() { ahead[p] = 0; ahead_number[p] = 0; ahead_ticket[p] = 0; ahead_late[p] = false }
inline forget_lock() { close_try(); look[p] = 0; late[p] = false; seen_kind[p] = NONE; seen_name[p] = 0; at[p] = 0 }
inline forget_list() { listed[p * 3] = 0; listed[p * 3 + 1] = 0; listed[p * 3 + 2] = 0 }
inline unlink_entry(d) { kind[d] = NONE; name[d] = 0; inode[d] = 0 }
inline unlink_ticket(q) { number[q] = 0; ticket[q] = 0 }
inline remove_queue_if_empty() {
  if
#ifdef SEED_REMOVE_FULL_QUEUE
  :: queue ->
    unlink_ticket(0); unlink_ticket(1); unlink_ticket(2);
    queue = false; queue_open[0] = false; queue_open[1] = false; queue_open[2] = false
#else
  :: queue && number[0] == 0 && number[1] == 0 && number[2] == 0 ->
    queue = false; queue_open[0] = false; queue_open[1] = false; queue_open[2] = false
#endif
  :: else
  fi;
  queue_open[p] = false
}

active [N] proctype contender() {
  byte round;                  /* calls made */
  bool tries;                  /* this one is a try_lock */
  bool first;                  /* nothing seen of others yet, in this call */
  bool alone;                  /* the last time there was nobody to wait for */
  bool queue_left;             /* the queue was kept for the next wait */
  bool head;                   /* nobody is ahead in the queue */
  bool last;                   /* the deadline has passed: one more attempt, without sleeping */
  bool recovered;              /* sweep after the release */
  byte x;                      /* Q3: the highest number; else scratch, zero between steps */

P: atomic {                    /* all private directories with their o-files, before anybody starts */
    if
    :: p == 0 ->
      d_step {
        do
        :: x < N -> alive[x] = true; home[x] = x + 1; kind[x + 1] = O; name[x + 1] = x; inode[x + 1] = x + 1; x++
        :: else -> break
        od;
        x = 0; prepared = true
      }
    :: p != 0 && prepared
    fi
  }

  /* ---- the doorway ---- */
Q1: atomic {
    if
    :: MAY_DIE
#if LOSSES > 0
    :: losses < LOSSES && own[p] -> d_step { losses++; close_own(); lost[p] = true }; goto Q1
#endif
    :: round == ROUNDS -> goto X
    :: round == ROUNDS -> goto end_idle
    :: round < ROUNDS ->
      d_step { round++; first = true; earlier[p] = waiting[0] | (waiting[1] << 1) | (waiting[2] << 2) }
      if :: p < TRYERS -> tries = true :: true fi;
#if defined(UNFAIR) || defined(SEED_NO_DOORWAY)
      goto A1
#else
      if
      :: !queue -> goto A1
      :: queue && tries -> goto T2
      :: queue && !tries ->
        alone = false;
        if :: own[p] || lost[p] -> goto A4 :: else -> goto Q2 fi
      fi
#endif
    fi
  }

  /* ---- try_lock, while there is a queue ---- */
T2: atomic { if :: MAY_DIE :: true -> if :: queue -> queue_open[p] = true :: else -> goto A1 fi fi }
T3: atomic {
    if
    :: MAY_DIE
    :: true ->
      d_step {
        do
        :: x < 3 -> if :: queue_open[p] && number[x] && x != p -> listed[p * 3 + x] = number[x] * 8 + ticket[x] :: else fi; x++
        :: else -> break
        od;
        x = 0
      }
    fi
  }
T4: atomic {                   /* open the next one read-only */
    if
    :: MAY_DIE
    :: true ->
      d_step {
        forget_ahead();
        do
        :: x < 3 && listed[p * 3 + x] == 0 -> x++
        :: else -> break
        od;
        if
        :: x < 3 ->
          ahead_number[p] = listed[p * 3 + x] / 8; ahead_ticket[p] = listed[p * 3 + x] % 8; listed[p * 3 + x] = 0;
          if :: queue_open[p] && has_ticket(x) -> ahead[p] = x + 1 :: else -> ahead_number[p] = 0; ahead_ticket[p] = 0 fi
        :: else
        fi
      }
      if
      :: x == 3 -> x = 0; goto T6
      :: x < 3 -> x = 0; if :: ahead[p] == 0 -> goto T4 :: else fi
      fi
    fi
  }
T4_read: atomic { if :: MAY_DIE :: true -> if :: write_end[ahead_of_me] == ahead_ticket[p] -> goto busy :: else fi fi }
T4_look: atomic { if :: MAY_DIE :: true -> if :: !has_ticket(ahead_of_me) -> goto T4 :: else fi fi }
T4_identity: atomic { if :: MAY_DIE :: true -> if :: known_alive(ahead_of_me) -> goto busy :: else fi fi }
T5: atomic {                   /* the ticket of the dead goes */
    if
    :: MAY_DIE
    :: true ->
      if :: has_ticket(ahead_of_me) -> check(F4_no_aba, killed[ahead_of_me]); unlink_ticket(ahead_of_me) :: else fi;
      goto T4
    fi
  }
T6: atomic { if :: MAY_DIE :: true -> d_step { remove_queue_if_empty() }; goto A1 fi }

  /* ---- the queue ---- */
Q2: atomic {                   /* the ticket is made, and open for writing, before it is visible */
    if
    :: MAY_DIE
    :: true ->
      if
      :: queue ->
        d_step {
          queue_open[p] = true;
#ifdef SEED_REUSED_TICKET
          write_end[p] = 1
#else
          if :: write_end[p] == 0 -> fresh_ticket(x); write_end[p] = x; x = 0 :: else fi
#endif
        }
        goto Q3
      :: else
      fi
    fi
  }
Q2_mkdir: atomic { if :: MAY_DIE :: true -> queue = true; goto Q2 fi }
Q3: atomic {
    if
    :: MAY_DIE
    :: true ->
      d_step {
        if
        :: queue_open[p] ->
          if :: number[0] > x -> x = number[0] :: else fi;
          if :: number[1] > x -> x = number[1] :: else fi;
          if :: number[2] > x -> x = number[2] :: else fi
        :: else
        fi
      }
    fi
  }
Q4: atomic {
    if
    :: MAY_DIE
    :: true ->
      if
      :: queue_open[p] -> d_step { number[p] = x + 1; ticket[p] = write_end[p]; waiting[p] = true; x = 0 }
      :: else -> x = 0; goto Q2
      fi
    fi
  }
Q5: atomic {                   /* the nearest smaller (number, name) */
    if
    :: MAY_DIE
    :: true ->
      d_step {
        check(F4_no_aba, number[p] != 0);      /* nobody takes the ticket of the living */
        forget_ahead();
        do
        :: x < 3 ->
          if
          :: x != p && number[x] && (number[x] < number[p] || (number[x] == number[p] && x < p)) &&
             (ahead[p] == 0 || number[x] > ahead_number[p] || (number[x] == ahead_number[p] && x > ahead_of_me)) ->
            ahead[p] = x + 1; ahead_number[p] = number[x]; ahead_ticket[p] = ticket[x]
          :: else
          fi;
          x++
        :: else -> break
        od;
        x = 0
      }
      if :: ahead[p] == 0 -> head = true; goto H1 :: else fi
    fi
  }
Q6: atomic {
    if
    :: MAY_DIE
    :: true ->
      if :: has_ticket(ahead_of_me) -> ahead_late[p] = (write_end[ahead_of_me] != ahead_ticket[p]) :: else -> goto Q5 fi
    fi
  }
#ifndef SEED_POLL_BEFORE_READ
Q6_read: atomic { if :: MAY_DIE :: true -> if :: write_end[ahead_of_me] != ahead_ticket[p] -> goto Q7 :: else fi fi }
#endif
Q6_sleep: atomic {
    if
    :: MAY_DIE
    :: MAY_EXPIRE; goto Q8
    :: write_end[ahead_of_me] != ahead_ticket[p] && !ahead_late[p] -> goto Q7
    fi
  }
Q7: atomic { if :: MAY_DIE :: true -> if :: !has_ticket(ahead_of_me) -> goto Q5 :: else fi fi }
Q7_identity: atomic {
    if
    :: MAY_DIE
    :: true ->
      if
      :: known_alive(ahead_of_me) -> check(F6_asleep, killed[ahead_of_me])
      :: else -> goto Q7_unlink
      fi
    fi
  }
Q7_sleep: atomic { if :: MAY_DIE :: MAY_EXPIRE; goto Q8 :: !alive[ahead_of_me] -> goto Q5 fi }
Q7_unlink: atomic {
    if
    :: MAY_DIE
    :: true ->
      if :: has_ticket(ahead_of_me) -> check(F4_no_aba, killed[ahead_of_me]); unlink_ticket(ahead_of_me) :: else fi;
      goto Q5
    fi
  }

  /* ---- acquire what is free ---- */
A1: atomic {                   /* the proof may still be open from the last time */
    if
    :: own[p] || lost[p] -> goto A3
    :: !own[p] && !lost[p] ->
      if
      :: MAY_DIE
      :: true -> d_step { own[p] = inode[home[p]]; blind[p] = !alone; writer_opens(own[p]) }
      fi
    fi
  }
A2: atomic { if :: MAY_DIE :: true -> if :: unlocked(own[p]) -> own_locked[p] = true; goto A3 :: else fi fi }
A2_close: atomic { if :: MAY_DIE :: true -> d_step { close_own() } fi }
A2_unlink: atomic { if :: MAY_DIE :: true -> d_step { x = name[home[p]]; unlink_entry(home[p]) } fi }
A2_fresh: atomic {
    if
    :: MAY_DIE
    :: true ->
      d_step {
#ifndef SEED_NO_FRESH_NAME
        fresh_name(x);
#endif
        name[home[p]] = x;
        fresh_inode(x); inode[home[p]] = x; kind[home[p]] = O;
        x = 0
      }
      goto A1
    fi
  }
A3: atomic {
    if
    :: MAY_DIE
    :: true ->
      if
      :: L == NONE ->
        d_step {
          check(F2_complete, kind[home[p]] == O && owner_of(name[home[p]]) == p && (lost[p] || (own[p] == inode[home[p]] && own_locked[p])));
          L = home[p]; home[p] = NONE;
          acquired(false);
          if :: first -> alone = true :: else fi
        }
        goto Q8
      :: else
      fi
    fi
  }
A4: atomic {
    if
    :: MAY_DIE
    :: true ->
#ifdef SEED_WAIT_WITH_PROOF
      first = false;
#else
      d_step { close_own(); first = false }
#endif
      if
      :: last -> goto Q8
      :: else
#ifdef UNFAIR
        goto H1
#else
        if
        :: tries || head -> goto H1
        :: else -> alone = false; goto Q2
        fi
#endif
      fi
    fi
  }

  /* ---- the lock is somebody's ---- */
H1: atomic { if :: MAY_DIE :: true -> d_step { forget_lock() }; if :: L == NONE -> goto A1 :: else -> at[p] = L fi fi }
H1_list: atomic {
    if
    :: MAY_DIE
    :: true -> if :: kind[at[p]] != NONE -> seen_kind[p] = kind[at[p]]; seen_name[p] = name[at[p]]; goto H2 :: else fi
    fi
  }
H1_look: atomic { if :: MAY_DIE :: true -> if :: L != at[p] -> goto H1 :: tries && L == at[p] -> goto busy :: !tries && L == at[p] fi fi }
H1_stranger: atomic {
    if
    :: MAY_DIE
#ifdef SEED_BREAK_STRANGERS
    :: L == at[p] -> L = NONE; goto H1
#endif
    :: MAY_EXPIRE; goto W
    :: L != at[p] -> goto H1
    :: orphaned && L == at[p] -> goto Q8        /* reported like any stranger's, and for people to remove */
    fi
  }
H2: atomic {
    if
    :: MAY_DIE
    :: true ->
      if
#ifdef SEED_WAIT_READ_WRITE
      :: has_entry(at[p]) -> d_step { try[p] = inode[at[p]]; look[p] = inode[at[p]]; writer_opens(try[p]) }
#elif defined(SEED_RECLAIM_BY_PATH)
      :: has_entry(at[p]) && known_dead(owner_of(seen_name[p])) -> goto H7
      :: has_entry(at[p]) && !known_dead(owner_of(seen_name[p])) -> d_step { look[p] = inode[at[p]]; late[p] = end_of_file(look[p]) }
#else
      :: has_entry(at[p]) -> d_step { look[p] = inode[at[p]]; late[p] = end_of_file(look[p]) }
#endif
      :: !has_entry(at[p]) -> goto H1
      fi
    fi
  }
#ifndef SEED_NO_LOOK_AFTER_OPENING
H2_look: atomic { if :: MAY_DIE :: true -> if :: L != at[p] -> goto H1 :: else fi fi }
#endif
#ifndef SEED_POLL_BEFORE_READ
H2_read: atomic {
    if
    :: MAY_DIE
    :: true -> if :: end_of_file(look[p]) -> goto H4_look :: !end_of_file(look[p]) && tries -> goto busy :: else fi
    fi
  }
#endif
H3: atomic {
    if
    :: MAY_DIE
    :: MAY_EXPIRE; goto W
    :: end_of_file(look[p]) && !late[p]
    fi
  }
H3_read: atomic { if :: MAY_DIE :: true -> if :: !end_of_file(look[p]) -> goto H1 :: else fi fi }
H4_look: atomic { if :: MAY_DIE :: true -> if :: L != at[p] -> goto H1 :: else fi fi }
H4: atomic {
    if
    :: MAY_DIE
    :: true ->
      if
      :: has_entry(at[p]) -> d_step { try[p] = inode[at[p]]; writer_opens(try[p]) }
      :: else -> goto H1
      fi
    fi
  }
#ifdef SEED_NO_KERNEL_LOCK
H4_lock: atomic { if :: MAY_DIE :: true -> try_locked[p] = true; goto H5 fi }
#else
H4_lock: atomic { if :: MAY_DIE :: true -> if :: unlocked(try[p]) -> try_locked[p] = true; goto H5 :: else fi fi }
#endif
H4_close: atomic { if :: MAY_DIE :: true -> if :: tries -> goto busy :: else -> goto H1 fi fi }
H5: atomic {                   /* the name is still there, and it is the inode that was locked */
    if
    :: MAY_DIE
#ifndef SEED_NO_LOOK_AT_ALL
    :: true -> if :: has_entry(at[p]) :: else -> goto H1 fi
#else
    :: true
#endif
    fi
  }
#ifndef SEED_NO_LOOK_AT_ALL
H5_look: atomic { if :: MAY_DIE :: true -> if :: L == at[p] :: else -> goto H1 fi fi }
#endif
#ifndef SEED_NO_IDENTITY
H6: atomic {
    if
    :: MAY_DIE
    :: true ->
      if
      :: seen_kind[p] == F -> goto H7
      :: seen_kind[p] == O && !known_alive(owner_of(seen_name[p])) -> goto H6_look
      :: else -> if :: LOSSES > 0 :: else -> check(F6_asleep, killed[owner_of(seen_name[p])]) fi
      fi
    fi
  }
H6_close: atomic { if :: MAY_DIE :: true -> d_step { close_try(); look[p] = 0; late[p] = false }; if :: tries -> goto busy :: else fi fi }
H6_sleep: atomic {
    if
    :: MAY_DIE
    :: MAY_EXPIRE; goto W
    :: !alive[owner_of(seen_name[p])] -> goto H1
#if LOSSES > 0
    :: alive[owner_of(seen_name[p])] && (L != at[p] || !has_entry(at[p])) -> goto H1     /* the interval */
#endif
    fi
  }
#endif
H6_look: atomic {              /* once more, now that its owner cannot move it any more */
    if
    :: MAY_DIE
#if !defined(SEED_NO_LOOK_AFTER_DEATH) && !defined(SEED_NO_LOOK_AT_ALL)
    :: true -> if :: L == at[p] :: else -> goto H1 fi
#else
    :: true
#endif
    fi
  }
H7: atomic {
    if
    :: MAY_DIE
    :: true ->
      if
#ifdef SEED_RECLAIM_BY_PATH
      :: L != NONE && known_dead(owner_of(seen_name[p])) -> d_step { died_holding = false; L = NONE; forget_lock() }; goto A1
#endif
#ifdef SEED_NO_COMPARE
      :: kind[at[p]] != NONE ->
#else
      :: has_entry(at[p]) ->
#endif
        d_step {
          check(F4_no_aba, L == at[p]);
#ifdef SEED_INHERIT_OLD_NAME
          name[at[p]] = name[home[p]];
#else
          fresh_name(x); name[at[p]] = x; x = 0;
#endif
          kind[at[p]] = O;
          own[p] = try[p]; own_locked[p] = try_locked[p]; blind[p] = true;
          recovered = (seen_kind[p] == O);
#ifdef SEED_ALWAYS_NEWS
          acquired(true);
#else
          acquired(recovered);
#endif
          forget_lock()
        }
      :: else -> goto H1
      fi
    fi
  }
H7_unlink: atomic { if :: MAY_DIE :: true -> d_step { unlink_entry(home[p]) } fi }
H7_rmdir: atomic { if :: MAY_DIE :: true -> home[p] = NONE fi }

  /* ---- the ticket goes when the lock is got, or when the wait is given up ---- */
Q8: atomic {
    if
    :: MAY_DIE
    :: true ->
      d_step {
        forget_ahead(); forget_lock(); head = false; last = false; tries = false; first = false;
        if :: inside[p] :: else -> stop_waiting() fi
      }
      if
      :: write_end[p] == 0 -> if :: inside[p] -> goto section :: else -> goto gave_up fi
#ifdef SEED_CLOSE_BEFORE_UNLINK
      :: else -> write_end[p] = 0
#else
      :: else -> d_step { unlink_ticket(p) }
#endif
      fi
    fi
  }
#ifdef SEED_CLOSE_BEFORE_UNLINK
Q8_close: atomic { if :: MAY_DIE :: true -> d_step { unlink_ticket(p) } fi }
#else
Q8_close: atomic { if :: MAY_DIE :: true -> write_end[p] = 0 fi }
#endif
Q8_rmdir: atomic {
    if
    :: MAY_DIE
    :: true ->
#ifdef SEED_NO_QUEUE_RMDIR
      queue_open[p] = false;
#else
      if
      :: inside[p] -> queue_left = true; queue_open[p] = false  /* the code does so if it had to sleep; here it is free to */
      :: true -> d_step { remove_queue_if_empty() }
      fi;
#endif
      if :: inside[p] :: else -> goto gave_up fi
    fi
  }

section: atomic {
    if
    :: MAY_DIE
#if LOSSES > 0
    :: losses < LOSSES && !lost[p] -> d_step { losses++; close_own(); lost[p] = true }; goto section
#endif
    :: true
    fi
  }

  /* ---- release ---- */
R1: atomic {
    if
    :: MAY_DIE
    :: true -> d_step { check(F1_exclusion, kind[L] == O && owner_of(name[L]) == p && (lost[p] || (own[p] == inode[L] && own_locked[p]))) }
    fi
  }
R2: atomic {
    if
    :: MAY_DIE
    :: refusals < REFUSALS -> refusals++; goto R2b
    :: true -> d_step { home[p] = L; L = NONE; inside[p] = false }
    fi
  }
R3_look: atomic {              /* unwatched, the proof may stay open for the next time */
    if
    :: MAY_DIE
#ifdef SEED_NO_LOOK_FOR_READERS
    :: true -> goto S1
#else
    :: true -> if :: lost[p] || read_by_any(own[p]) -> goto R3 :: else -> goto S1 fi
#endif
    fi
  }
R2b: atomic {
    if
    :: MAY_DIE
    :: refusals < REFUSALS -> refusals++
    :: true -> d_step { kind[L] = F; inside[p] = false }; goto R3
    fi
  }
R2c: atomic { if :: MAY_DIE :: true -> d_step { unlink_entry(L) } fi }
R2c_rmdir: atomic { if :: crashes < CRASHES -> orphaned = true; goto die :: true -> d_step { L = NONE; inside[p] = false } fi }
R3: atomic { if :: MAY_DIE :: true -> d_step { close_own() } fi }

  /* ---- made ready for the next time ---- */
S1: atomic {                   /* a dead one's private directory is renamed to a name of my own: one sweeper gets it */
    if
    :: !recovered -> goto P1
    :: recovered && crashes < CRASHES -> goto die
    :: recovered ->
      d_step {
        do
        :: x < 3 && !(known_dead(x) && killed[x] && (home[x] != NONE || swept[x] != NONE)) -> x++
        :: else -> break
        od;
        if
        :: x < 3 && home[x] != NONE -> swept[p] = home[x]; home[x] = NONE
        :: x < 3 && home[x] == NONE -> swept[p] = swept[x]; swept[x] = NONE
        :: else -> recovered = false
        fi;
        x = 0
      }
      if :: !recovered -> goto P1 :: else fi
    fi
  }
S2: atomic { if :: MAY_DIE :: true -> d_step { unlink_entry(swept[p]) } fi }
S3: atomic { if :: MAY_DIE :: true -> swept[p] = NONE; goto S1 fi }
P1: atomic {
    if
    :: home[p] != NONE -> goto Q1
    :: home[p] == NONE && crashes < CRASHES -> goto die
    :: home[p] == NONE -> d_step { fresh_directory(x); home[p] = x; x = 0 }
    fi
  }
P2: atomic {
    if
    :: MAY_DIE
    :: true -> d_step { fresh_name(x); name[home[p]] = x; fresh_inode(x); inode[home[p]] = x; kind[home[p]] = O; x = 0 }; goto Q1
    fi
  }

  /* ---- the deadline passed while asleep on the owner: one last attempt ---- */
W: atomic { d_step { forget_lock(); last = true }; goto A1 }
busy: atomic { d_step { forget_lock(); forget_ahead(); forget_list(); queue_open[p] = false; tries = false; first = false } }
gave_up: atomic { earlier[p] = 0; goto Q1 }

  /* ---- the object lives on, for ever idle; or it is destroyed, and the process ends ---- */
end_idle: atomic { MAY_DIE }
X: atomic { if :: MAY_DIE :: true -> d_step { close_own() } fi }
X_queue: atomic {
    if
    :: MAY_DIE
    :: queue_left -> d_step { remove_queue_if_empty(); queue_left = false }
    :: !queue_left
    fi
  }
X_unlink: atomic { if :: MAY_DIE :: true -> d_step { unlink_entry(home[p]) } fi }
X_rmdir: atomic { if :: MAY_DIE :: true -> home[p] = NONE fi }
X_exit: atomic { alive[p] = false; goto gone }

  /* ---- killed: it stops at once; then the kernel closes its files; then it is seen dead ---- */
die: atomic {
    d_step {
      crashes++; killed[p] = true;
      if :: inside[p] -> inside[p] = false; died_holding = !orphaned :: else fi;
      stop_waiting(); earlier[p] = 0; x = 0; round = 0;
      head = false; last = false; tries = false; first = false; alone = false; queue_left = false; recovered = false;
      seen_kind[p] = NONE; seen_name[p] = 0; look[p] = 0; late[p] = false; at[p] = 0;
      forget_ahead(); forget_list(); queue_open[p] = false
    }
    if :: write_end[p] && (own[p] || try[p]) -> goto die_ticket :: true fi
  }
die_proof: atomic { d_step { close_own(); close_try() }; if :: write_end[p] :: else -> goto die_seen fi }
die_ticket: atomic { write_end[p] = 0; if :: own[p] || try[p] -> goto die_proof :: else fi }
die_seen: atomic { alive[p] = false }

gone: atomic {
    d_step {
      round = 0; alone = false; queue_left = false; finished++;
      if
      :: finished == N && crashes == 0 && refusals == 0 ->
        check(F8_tidy, (L == NONE || L == STRANGERS_DIRECTORY) && !queue && home[0] == NONE && home[1] == NONE && home[2] == NONE)
      :: else
      fi
    }
  }
}

#ifdef STRANGER
active proctype stranger() {
end_mkdir: atomic {            /* where a dead owner leaves L behind, a stranger waits for ever: it does not know better */
    L == NONE -> L = STRANGERS_DIRECTORY; stranger_inside = true;
    check(F1_exclusion, !inside[0] && !inside[1] && !inside[2])
  }
rmdir: atomic { check(F10_strangers, L == STRANGERS_DIRECTORY && kind[L] == NONE); stranger_inside = false; L = NONE }
}
#endif
