# %% [markdown]
# # A day in the department
#
# A community hospital: a scanner of each kind, and an **integration engine** through which all
# HL7 goes. In this lesson a whole day passes in it, from midnight to midnight. Then you look at
# it as the one who runs it: where did people wait, which report took longest, and what happened
# to one single patient?
#
# At the end come two calls of the kind that an administrator gets. There are five exercises.

# %%
import labsim
from labsim.widgets import hospital_map, queues, throughput, waiting_times

lab = labsim.start("02_department_day")
hospital = lab.hospital
hospital_map(hospital)

# %% [markdown]
# ## The day
#
# Outpatients with appointments, patients from the wards, people who walk in, emergencies: each
# is registered at the HIS, ordered, scheduled, called from the worklist, scanned, stored, and
# reported. Nothing is left out, every message goes over a socket. Only the clock is quick: it
# jumps from one event to the next. The scanners use their quick protocols, so that a day takes
# about half a minute.

# %%
day = hospital.day(exams=60)
day

# %% [markdown]
# The same seed gives the same day again, with the same patients at the same minutes. This is
# how many came, were scanned and were reported, hour by hour:

# %%
throughput(day)

# %%
queues(day)

# %%
day.utilisation()

# %% [markdown]
# ### Exercise 1: where people wait
#
# The head of the department has money for a second scanner of one kind. For which scanner did
# **most people wait at one time**? Give its AE title to the check.

# %%
answer = None  # Your turn.

# %% tags=["solution"]
answer = max(day.scanners, key=lambda s: max((n for _, n in s.queue), default=0)).name

# %%
lab.exercise(1).check(answer)

# %% [markdown]
# ## How long it took
#
# Two times are watched in every department: from the door to the scanner, and from the end of
# the scan to the signed report (the *turnaround*). A median says how it usually is. The 90th
# percentile says how it is for those who complain.

# %%
waiting_times(day)

# %%
day.waiting("priority")

# %% [markdown]
# ## One exam, picked out
#
# Behind each of these numbers is somebody. Take the first emergency of the day: `S` is the
# priority *stat* in HL7. Emergencies are scanned before anybody who has an appointment.

# %%
emergency = next(exam for exam in day.exams if exam.planned.priority == "S" and exam.reported)
transcript = day.pick(emergency.accession)
print(
    f"ordered {emergency.planned.ordered:%H:%M}, scanned {emergency.begun:%H:%M}, "
    f"reported {emergency.reported:%H:%M}"
)
transcript.journey()

# %%
hospital_map(hospital, transcript)

# %% [markdown]
# Every HL7 message makes two hops: to the engine, and from there to its receiver. The engine
# keeps each message in a store of its own. This is what passed through its channels today:

# %%
hospital.engine.statistics()

# %%
hospital.engine.messages(accession=emergency.accession)

# %% [markdown]
# ### Exercise 2: the report that took longest
#
# Which exam waited longest for its report, from the end of the scan? Give its **accession
# number** to the check, and then look at it with `day.pick(…).journey()`. Why did it wait?

# %%
answer = None  # Your turn.

# %% tags=["solution"]
answer = max((e for e in day.exams if e.turnaround), key=lambda e: e.turnaround).accession

# %%
lab.exercise(2).check(answer)

# %% [markdown]
# At the end of the day an administrator asks both sides: is every study in the archive an
# examination of the RIS, under the same number and the same patient? What is not is
# *unmatched*, and nobody will find it when it is needed.

# %%
day.unmatched()

# %% [markdown]
# ## The first call
#
# *“We had an ambulance after midnight. Nobody knew who he was, so I scanned him without an order.
# His family has brought his passport now, and the front desk has registered him. But the ward
# finds no images!”*

# %%
lab.exercise(3).begin()

# %% [markdown]
# ### Exercise 3: an emergency without an order
#
# The scanner has told the RIS of its work (MPPS), and the images are in the archive, under the
# name `Doe^Unknown`. The RIS knows no order for them. Say **whose** the scan is, so that HIS,
# RIS and PACS have it under one number and the right patient. These help:
#
# - `hospital.ris.unmatched()` has what was performed without an order;
# - `hospital.his.patients()` has everybody, the last registered at the end;
# - `hospital.ris.match?` says what a clerk can do.

# %%
# Your turn.

# %% tags=["solution"]
step = hospital.ris.unmatched()[0][0]
patient = hospital.his.patients()[-1]
hospital.ris.match(step, patient.patient_id)

# %%
lab.exercise(3).check()

# %% [markdown]
# ## The second call
#
# *“We ordered a chest for Mrs Lindholm, the computer said it was accepted, and radiology says
# they have nothing. Shall I order it again?”*

# %%
lab.exercise(4).begin()

# %%
hospital.ris.orders()[-1]

# %% [markdown]
# ### Exercise 4: orders that nobody gets
#
# Find where the order is, and let it arrive, **once**.

# %%
# Your turn.

# %% tags=["solution"]
hospital.engine.channel("his-to-ris").destination("ris").start()

# %%
lab.exercise(4).check()

# %% [markdown]
# ### Exercise 5: the report of the night
#
# The scan of the night still waits for a report. Look at the **reading list**, and sign the
# report. Then it must be in the chart of the patient and, as a document, in the archive.

# %%
hospital.ris.reading_list()

# %%
# Your turn.

# %% tags=["solution"]
waiting = hospital.ris.reading_list()[0]
hospital.ris.report(waiting.accession, "Findings: No haemorrhage.\nImpression: No acute finding.")

# %%
lab.exercise(5).check()

# %% [markdown]
# ## What you have done

# %%
lab.progress()

# %% [markdown]
# Both calls had one thing in common: nothing was lost, and nobody could see it. A performed step
# without an order, and a queue that stands still, raise no error anywhere. They are found by who
# looks at two lists every morning: `hospital.ris.unmatched()` and `hospital.engine.statistics()`.
