# %% [markdown]
# # One exam, message by message
#
# You have seen an exam travel through the hospital. Now you open what was sent, in the order
# in which it was sent: the HL7 text, the worklist entry, the scanner's reports of its work,
# the DICOM header, the image, the report. At the end something breaks, and you repair it.
#
# There are seven exercises. Each is checked by the state of the hospital.

# %%
from pathlib import Path

import labsim
from labsim.widgets import SeriesViewer, console, hospital_map, show_slices

lab = labsim.start("01_one_exam")
hospital = lab.hospital
exam = hospital.exam()
transcript = exam.transcript()
exam

# %% [markdown]
# `transcript` is everything the journal has of this exam. `transcript.of("RAD-1")` picks one
# transaction, and `hospital.message(…)` opens what an event carried.
#
# ## RAD-1: the patient is registered
#
# The HIS sends an **ADT^A04** to the RIS. An HL7 v2 message is lines of text, called
# *segments*; each begins with three letters and ends with a carriage return (HL7 v2.5.1,
# 2.5.4). Between the bars are *fields*.

# %%
registration, acknowledgment = transcript.of("RAD-1")
message = hospital.message(registration)
print(message)

# %% [markdown]
# `PID-5` means field 5 of segment `PID`. Fields have *components*, parted by `^`. Here is the
# same message field by field. Look for the patient's ID: `PID-3` has the number, and who
# gave it (the *assigning authority*). A number alone identifies nobody: another hospital may
# have given the same one.

# %%
message.table()

# %% [markdown]
# The RIS answers every message with an **ACK**. `MSA-1` says what became of it: `AA`
# accepted, `AE` error, `AR` rejected (table 0008). `MSA-2` repeats the control ID of the
# message that is answered. A sender that does not compare it with its `MSH-10` may take the
# answer to one message for the answer to another.

# %%
hospital.message(acknowledgment).table("MSA")

# %% [markdown]
# ## RAD-2 and RAD-4: ordered, and scheduled
#
# The HIS orders with an **ORM^O01**. The order has one number so far: the *placer order
# number* in `ORC-2`.

# %%
ordered = hospital.message(transcript.of("RAD-2")[0])
ordered.table("ORC")

# %% [markdown]
# The RIS schedules the examination and tells the PACS what will come, again with an
# **ORM^O01**. Now there are more numbers. IHE has fixed where they go:
#
# | number | field | what for |
# |---|---|---|
# | filler order number | `ORC-3` | the RIS's own number of the order |
# | accession number | `OBR-18` | what people say on the telephone |
# | requested procedure ID | `OBR-19` | one order may ask for several procedures |
# | scheduled procedure step ID | `OBR-20` | one procedure may have several steps |
# | Study Instance UID | `ZDS-1` | ties all images together, and exists before any of them |

# %%
scheduled = hospital.message(transcript.of("RAD-4")[0])
scheduled.table()

# %% [markdown]
# And the HIS hears how it goes on: with each change the RIS sends it the state of its order
# (RAD-3, Filler Order Management). `ORC-1` is `SC`, status changed; `ORC-5` says to what.

# %%
for status in transcript.of("RAD-3"):
    if status.detail.get("request"):
        print(status.hospital_time[11:19], hospital.message(status)["ORC-5"])

# %% [markdown]
# ### Exercise 1: correct a name where it comes from
#
# The patient's passport says **Ada Novák**. All three systems, HIS, RIS and PACS, must have
# this name, written `Novák^Ada`. Correct it in the right place, so that it does not come back
# wrong tomorrow.

# %%
# Your turn.

# %% tags=["solution"]
hospital.his.update_patient(exam.patient.patient_id, name="Novák^Ada")

# %%
lab.exercise(1).check()

# %% [markdown]
# ## RAD-5: the scanner asks what to do
#
# Nobody types a name at the scanner. It asks the RIS for its **worklist**, with a DICOM
# C-FIND. The question is a data set: attributes with a value must match, attributes without
# one are asked for. What belongs to the step at the scanner is inside the *Scheduled Procedure
# Step Sequence* (PS3.4 K.6.1.2.2); the rest is outside. Worklists that come back empty often
# have that wrong.

# %%
question, *answers, end = transcript.of("RAD-5")
print(hospital.message(question))

# %% [markdown]
# And the answer: one entry, with everything the scanner needs. Compare the numbers with those
# in the HL7 message above. They are the same, and no hand has touched them.

# %%
print(hospital.message(answers[0]))

# %% [markdown]
# ### Exercise 2: on the worklist of tomorrow
#
# Order a **CT head** for the same patient, and schedule it for **tomorrow at 08:30**. The
# check asks the worklist for tomorrow, as the scanner will.

# %%
# Your turn.

# %% tags=["solution"]
from datetime import date, datetime, time, timedelta

order = hospital.his.place_order(exam.patient.patient_id, "CTHEAD")
half_past_eight = datetime.combine(date.today() + timedelta(days=1), time(8, 30))
hospital.ris.schedule(order.placer_order, start=half_past_eight)

# %%
lab.exercise(2).check()

# %% [markdown]
# ## RAD-6 and RAD-7: the scanner reports its work
#
# With the first exposure the scanner tells the RIS that a *Modality Performed Procedure Step*
# (**MPPS**) is in progress: an N-CREATE. When it is done, an N-SET makes it `COMPLETED` and
# lists every image. So the RIS knows what is being done, and what was done, even where it
# differs from what was ordered.

# %%
begun, _ = transcript.of("RAD-6")
hospital.tools.dcmdump(
    hospital.message(begun),
    "PerformedProcedureStepStatus",
    "PerformedStationAETitle",
    "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime",
    "PerformedProcedureStepID",
    "ScheduledStepAttributesSequence",
)

# %%
ended, _ = transcript.of("RAD-7")
done = hospital.message(ended)
[series] = done.PerformedSeriesSequence
print(done.PerformedProcedureStepStatus, "with", len(series.ReferencedImageSequence), "images")

# %% [markdown]
# ### Exercise 3: a scan that is given up
#
# Order and schedule another CT for the patient, let the scanner ask for its worklist and begin
# the step. Then the patient feels ill, and the scan is given up before the first image. Make
# sure that the RIS knows.

# %%
# Your turn.

# %% tags=["solution"]
order = hospital.his.place_order(exam.patient.patient_id)
procedure = hospital.ris.schedule(order.placer_order)
[entry] = hospital.ct.query_worklist(accession=procedure.accession)
uid = hospital.ct.start_step(entry)
hospital.ct.discontinue_step(uid)

# %%
lab.exercise(3).check()

# %% [markdown]
# ## RAD-8: the images are stored
#
# Two DICOM systems first agree on an **association**: who they are (AE titles), and what they
# will speak. For each kind of object (*SOP class*) the caller proposes a *presentation
# context*, and the other side accepts it or not. Then each image is a C-STORE, answered with
# a status.

# %%
transcript.of("RAD-8")

# %% [markdown]
# An image is a data set as well: a header, and pixels. This is the part of the header that
# says whose it is, and where it belongs.

# %%
image = exam.images[0]
hospital.tools.dcmdump(
    image,
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "AccessionNumber",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "SOPClassUID",
    "Modality",
    "StudyDescription",
)

# %% [markdown]
# And this part says what the pixels mean: how many, how far apart, where in the patient, and
# how to turn a stored value into something measured.

# %%
hospital.tools.dcmdump(
    image,
    "Rows",
    "Columns",
    "PixelSpacing",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "SliceThickness",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "RescaleIntercept",
    "RescaleSlope",
    "WindowCenter",
    "WindowWidth",
)

# %%
show_slices(exam.images)

# %%
SeriesViewer(exam.images)

# %% [markdown]
# ### Exercise 4: what is that in Hounsfield units?
#
# `image.pixel_array[128, 60]` is one pixel of the first image: row 128, column 60. How many
# **Hounsfield units** is it? Give the number to the check.

# %%
answer = None  # Your turn.

# %% tags=["solution"]
stored = int(image.pixel_array[128, 60])
answer = stored * image.RescaleSlope + image.RescaleIntercept

# %%
lab.exercise(4).check(answer)

# %% [markdown]
# ## RAD-10: the promise to keep them
#
# A C-STORE that was answered with success says that the image has arrived. Before the scanner
# may delete its own copy, it asks for **storage commitment**: the archive takes over the
# responsibility. The question is an N-ACTION. The answer comes later, as an N-EVENT-REPORT
# (PS3.4 J.3), and as with most archives on a *new* association in the other direction. That is
# why the PACS must know where the scanner listens.

# %%
transcript.of("RAD-10")

# %%
asked, _, reported, _ = transcript.of("RAD-10")
result = hospital.message(reported)
print(len(result.ReferencedSOPSequence), "images committed,", end=" ")
print(len(result.get("FailedSOPSequence", [])), "failed")

# %% [markdown]
# ## RAD-14 and RAD-16: somebody looks at them
#
# To read the study, a workstation queries the PACS (C-FIND) and has the images sent, over the
# same association (C-GET) or to a destination that the PACS knows (C-MOVE). Your desk can do
# that too: its tools have the names of the commands that administrators use.

# %%
[study] = hospital.tools.findscu(
    "pacs",
    AccessionNumber=exam.accession,
    PatientName="",
    StudyDate="",
    ModalitiesInStudy="",
    NumberOfStudyRelatedInstances="",
)
hospital.tools.dcmdump(study)

# %% [markdown]
# On disk the archive is files and an index. The index is a SQLite database with a table for
# each level: patients, studies, series, instances.

# %%
first = hospital.pacs.paths(exam.procedure.study_uid)[0]
print(Path(first).name, Path(first).stat().st_size, "bytes")
hospital.pacs.table()

# %% [markdown]
# ## RAD-128: the report goes back
#
# The signed report leaves the RIS as an **ORU^R01**. `OBX-5` holds the text, `OBX-11` and
# `OBR-25` say that it is final (`F`), and the numbers say which order it answers.

# %%
hospital.message(transcript.of("RAD-128")[0]).table("OBX")

# %% [markdown]
# To the archive it goes as a **structured report** (SR): a DICOM object without pixels, with a
# tree of headings, texts and references to the images it is about (RAD-25).

# %%
hospital.pacs.documents(exam.procedure.study_uid)

# %% [markdown]
# ### Exercise 5: there is something to add
#
# The day after, the radiologist has looked at the images once more: *“Small cyst of the liver,
# harmless.”* The signed text must stay as it was signed. Put this into an **addendum**.

# %%
# Your turn.

# %% tags=["solution"]
hospital.ris.addendum(exam.accession, "Small cyst of the liver, harmless.")

# %%
lab.exercise(5).check()

# %% [markdown]
# ## Not every exam goes by the book
#
# IHE has names for the ways in which what is done differs from what was planned: *unscheduled*
# (nobody ordered it yet), *group* (one scan answers several orders), *append* (more images
# after the end), *abandoned* (exercise 3), another procedure than the one ordered. In each, the
# scanner's MPPS says what really was done.
#
# ### Exercise 6: more images, please
#
# Take one more exam through the hospital, up to the images. Then the radiologist asks for one
# more series. The patient is still on the table, and the step is completed already: a completed
# step may not be changed (PS3.4 F.7.2.2). **Append** a second one to the same exam.

# %%
order = hospital.his.place_order(exam.patient.patient_id)
procedure = hospital.ris.schedule(order.placer_order)
[entry] = hospital.ct.query_worklist(accession=procedure.accession)
step = hospital.ct.start_step(entry)
hospital.ct.acquire(step)
hospital.ct.send()
hospital.ct.complete_step(step)
hospital.ct.console()

# %%
# Your turn.

# %% tags=["solution"]
more = hospital.ct.append(procedure.accession)
hospital.ct.acquire(more)
hospital.ct.send()
hospital.ct.complete_step(more)

# %%
lab.exercise(6).check()

# %% [markdown]
# A technologist does all this with a console. This one calls the same methods as you did:

# %%
console(hospital.ct)

# %% [markdown]
# ## Something breaks
#
# Monday morning. The technologist of CT1 is on the telephone: *“My images do not go. The
# patient is done, but the viewer has nothing. I did not change anything!”*
#
# Run the next cell to be there. It breaks something in the hospital and runs one more exam.

# %%
stuck = lab.exercise(7).begin()
stuck

# %%
hospital_map(hospital, stuck.transcript())

# %% [markdown]
# What an administrator does first: is the other side there at all? A C-ECHO, from the scanner
# to the archive.

# %%
hospital.ct.echo("store")

# %% [markdown]
# It answers. So the network is fine, the port is right, and the PACS runs. And still:

# %%
hospital.ct.table()

# %% [markdown]
# ### Exercise 7: the scanner that nobody knows
#
# Find the cause in the journal, repair it with the PACS's own configuration, and make sure
# that no image is lost. These help:
#
# - `hospital.journal.events(source="pacs", kind="association")` is what the PACS says;
# - `hospital.pacs.ae_titles()` is whom it knows, and `hospital.pacs.register_ae?` changes it;
# - `hospital` has every system's title and address;
# - `hospital.ct.send()` sends what still waits at the scanner.

# %%
# Your turn.

# %% tags=["solution"]
print(hospital.journal.events(source="pacs", kind="association")[-3:])
hospital.pacs.register_ae("CT1", host="ct1", port=104)
hospital.ct.send()

# %%
lab.exercise(7).check()

# %% [markdown]
# ## What you have done

# %%
lab.progress()

# %% [markdown]
# The last failure had a cause that a C-ECHO does not show. Many archives answer a C-ECHO to
# anybody, and store only for those they know. Two things prevent it: a checklist for every new
# or moved device (title, host, port, at both ends), and a look at the queue of the scanners
# every morning.
#
# In a hospital you would now write down what happened, tell the technologist that every image
# has arrived, and ask who removed the entry.
